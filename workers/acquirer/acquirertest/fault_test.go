package acquirertest_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/quittance/quittance/workers/acquirer"
	"github.com/quittance/quittance/workers/acquirer/acquirertest"
)

// prepared are the calls, each with what must have been done before, and whether it can be
// inquired about.
var prepared = map[string]struct {
	before []step
	call   step
	keeps  bool
}{
	"tokenise": {nil, func(ctx context.Context, c *acquirer.Client) (acquirer.Answer, error) {
		_, err := c.Tokenise(ctx, "x", acquirer.Details{Number: good, Expiry: later})
		return acquirer.Answer{Status: acquirer.Approved}, err
	}, false},
	"authorise": {nil, authorise("x", pay(good, 100)), true},
	"confirm":   {[]step{authorise("a", pay(lookup, 100))}, confirm("x", "1234"), true},
	"capture":   {[]step{authorise("a", hold(good, 100))}, capture("x", 100), true},
	"void":      {[]step{authorise("a", hold(good, 100))}, void("x"), true},
	"refund":    {[]step{authorise("a", pay(good, 100))}, refund("x", 100), true},
	"inquire":   {[]step{authorise("x", pay(good, 100))}, inquire("x"), false},
}

// Every fault of every call: it is told as what it is, what was done is known, and the call
// comes to its end when it is made again, once.
func TestFaults(t *testing.T) {
	t.Parallel()
	for _, f := range []struct {
		kind acquirertest.Kind
		told string
		done bool
	}{
		{acquirertest.CutBefore, "unknown", false},
		{acquirertest.CutAfter, "unknown", true},
		{acquirertest.Error500, "unknown", false},
		{acquirertest.Delay, "approved", true},
		{acquirertest.DuplicateNotification, "approved", true},
	} {
		for name, p := range prepared {
			t.Run(string(f.kind)+" "+name, func(t *testing.T) {
				t.Parallel()
				s := acquirertest.Start(t, acquirertest.Config{})
				c := client(t, s)
				for _, do := range p.before {
					told(do(t.Context(), c))
				}
				before := len(s.Operations(""))
				s.Fault(acquirertest.Fault{Call: name, Kind: f.kind, Delay: time.Millisecond})
				if got := told(p.call(t.Context(), c)); got != f.told {
					t.Errorf("with the fault: %s, want %s", got, f.told)
				}
				if want := map[bool]string{true: "approved", false: "not found"}[f.done]; p.keeps {
					if got := told(c.Inquire(t.Context(), "x")); got != want {
						t.Errorf("what became of it: %s, want %s", got, want)
					}
				}
				if got := told(p.call(t.Context(), c)); got != "approved" {
					t.Errorf("made again: %s, want approved", got)
				}
				if done := len(s.Operations("")) - before; p.keeps && done != 1 || !p.keeps && done != 0 {
					t.Errorf("it was done %d times", done)
				}
			})
		}
	}
}

// A call that is delayed is done even after its caller gave up, and after somebody has asked
// what became of it: a late original.
func TestADelayedCallIsDoneLate(t *testing.T) {
	t.Parallel()
	s := acquirertest.Start(t, acquirertest.Config{})
	c := client(t, s)
	until, struck := make(chan struct{}), make(chan struct{})
	s.Fault(acquirertest.Fault{Call: "authorise", Kind: acquirertest.Delay, Until: until, Struck: func() { close(struck) }})
	url, heard := listen(t)
	late := pay(good, 100)
	late.NotifyURL = url
	ctx, giveUp := context.WithCancel(t.Context())
	ended := make(chan string)
	go func() { ended <- told(c.Authorise(ctx, "a", late)) }()
	<-struck
	giveUp()
	if got := <-ended; got != "unknown" {
		t.Errorf("who gave up knows: %s", got)
	}
	if got := told(c.Inquire(t.Context(), "a")); got != "not found" {
		t.Errorf("meanwhile: %s", got)
	}
	close(until)
	hear(t, heard)
	if got := told(c.Authorise(t.Context(), "a", pay(good, 100))); got != "approved" || s.Captured(payment) != 100 {
		t.Errorf("again: %s, and %d were taken", got, s.Captured(payment))
	}
}

func TestFaultsAreForWhomTheyAreMeant(t *testing.T) {
	t.Parallel()
	s := acquirertest.Start(t, acquirertest.Config{})
	c := client(t, s)
	s.Fault(acquirertest.Fault{Call: "any", Kind: acquirertest.CutBefore, Payment: payment, Times: 2})
	other := pay(good, 5)
	other.Payment = "other"
	got := []string{
		told(c.Authorise(t.Context(), "o", other)),
		told(c.Authorise(t.Context(), "a", pay(good, 100))),
		told(c.Inquire(t.Context(), "o")),
		told(c.Void(t.Context(), "v", movement(1))),
		told(c.Authorise(t.Context(), "a", pay(good, 100))),
	}
	if diff := cmp.Diff([]string{"approved", "unknown", "approved", "unknown", "approved"}, got); diff != "" {
		t.Errorf("two faults of one payment (-want +got):\n%s", diff)
	}
	s.Fault(acquirertest.Fault{Call: "inquire", Kind: acquirertest.CutBefore, Payment: payment})
	if got := []string{told(c.Inquire(t.Context(), "o")), told(c.Inquire(t.Context(), "a"))}; !slices.Equal(got, []string{"approved", "unknown"}) {
		t.Errorf("an inquiry is about its call's payment: %v", got)
	}
}

func TestDownAndUp(t *testing.T) {
	t.Parallel()
	s := acquirertest.Start(t, acquirertest.Config{})
	c := client(t, s)
	s.Down()
	s.Down()
	if got, err := told(c.Authorise(t.Context(), "a", pay(good, 100))), c.Ping(t.Context()); got != "not sent" || err == nil {
		t.Errorf("while it is down: %s, ping %v", got, err)
	}
	s.Up()
	s.Up()
	if got, err := told(c.Authorise(t.Context(), "a", pay(good, 100))), c.Ping(t.Context()); got != "approved" || err != nil {
		t.Errorf("when it is up: %s, ping %v", got, err)
	}
}

func TestFaultsAreAskedForOverHTTP(t *testing.T) {
	t.Parallel()
	s := acquirertest.Start(t, acquirertest.Config{})
	faults := s.URL() + "/faults"
	if status, got := post(t, faults, `{"call":"authorise","fault":"cut_after","times":2,"payment":"payment"}`); status != 200 {
		t.Errorf("asked for: %d %s", status, got)
	}
	if status, _ := post(t, faults, `{"call":"any","fault":"delay","delay":"3s"}`); status != 200 {
		t.Errorf("asked for: %d", status)
	}
	if got := told(authorise("a", pay(good, 100))(t.Context(), client(t, s))); got != "unknown" {
		t.Errorf("with the fault: %s", got)
	}
	want := `[{"call":"authorise","fault":"cut_after","times":1,"payment":"payment"},{"call":"any","fault":"delay","times":1,"delay":"3s"}]` + "\n"
	if _, got := ask(t, http.MethodGet, faults, ""); got != want {
		t.Errorf("to come: %s, want %s", got, want)
	}
	ask(t, http.MethodDelete, faults, "")
	if _, got := ask(t, http.MethodGet, faults, ""); got != "[]\n" {
		t.Errorf("forgotten: %s", got)
	}
	for _, body := range []string{
		"", "[]", `{"call":"dance","fault":"500"}`, `{"call":"any","fault":"fire"}`, `{"call":"any","fault":"500","times":-1}`,
		`{"call":"any","fault":"delay","delay":"soon"}`, `{"call":"any","fault":"delay","delay":"99h"}`,
	} {
		if status, _ := post(t, faults, body); status != 422 {
			t.Errorf("%s: %d, want 422", body, status)
		}
	}
	a := s.Acquirer()
	var err error
	for range 1001 {
		err = a.Fault(acquirertest.Fault{Call: "any", Kind: acquirertest.Error500})
	}
	if err == nil || !strings.Contains(err.Error(), fmt.Sprint(1000)) {
		t.Errorf("one fault too many: %v", err)
	}
}
