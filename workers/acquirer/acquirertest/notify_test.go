package acquirertest_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/quittance/quittance/workers/acquirer"
	"github.com/quittance/quittance/workers/acquirer/acquirertest"
)

// listen returns where to notify, and what comes there.
func listen(t *testing.T) (url string, heard <-chan string) {
	t.Helper()
	c := make(chan string, 100)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		c <- r.Method + " " + string(body)
		w.WriteHeader(http.StatusInternalServerError) // whatever it answers, it was told
	}))
	t.Cleanup(s.Close)
	return s.URL, c
}

func hear(t *testing.T, heard <-chan string) string {
	t.Helper()
	select {
	case h := <-heard:
		return h
	case <-time.After(patience):
		t.Fatal("nothing is heard")
		return ""
	}
}

func TestEveryMovementIsTold(t *testing.T) {
	t.Parallel()
	s := acquirertest.Start(t, acquirertest.Config{})
	c := client(t, s)
	url, heard := listen(t)
	a := hold(lookup, 100)
	a.NotifyURL = url
	var got []string
	for _, do := range []step{authorise("a", a), confirm("f", "1234"), capture("c", 100), refund("r", 1)} {
		if said := told(do(t.Context(), c)); said == "unknown" {
			t.Fatal(said)
		}
		got = append(got, hear(t, heard))
	}
	want := []string{`POST {"id":"a"}`, `POST {"id":"f"}`, `POST {"id":"c"}`, `POST {"id":"r"}`}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what is told (-want +got):\n%s", diff)
	}

	// A repeat is no news; a duplicate is what was asked for.
	told(refund("r", 1)(t.Context(), c))
	s.Fault(acquirertest.Fault{Call: "refund", Kind: acquirertest.DuplicateNotification})
	told(refund("s", 1)(t.Context(), c))
	got = []string{hear(t, heard), hear(t, heard)}
	if diff := cmp.Diff([]string{`POST {"id":"s"}`, `POST {"id":"s"}`}, got); diff != "" {
		t.Errorf("twice (-want +got):\n%s", diff)
	}
}

// Where the notification goes may change between two tries: it is the same call.
func TestANewAddressIsNoNewCall(t *testing.T) {
	t.Parallel()
	c := client(t, acquirertest.Start(t, acquirertest.Config{}))
	a := pay(good, 100)
	for _, a.NotifyURL = range []string{"", "http://127.0.0.1:1/x", "http://127.0.0.1:2/y"} {
		if got := told(c.Authorise(t.Context(), "a", a)); got != "approved" {
			t.Errorf("told at %q: %s", a.NotifyURL, got)
		}
	}
}

// Whoever does not listen holds up nobody.
func TestNobodyWaitsForWhoDoesNotListen(t *testing.T) {
	t.Parallel()
	over := make(chan struct{})
	deaf := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-over }))
	defer deaf.Close()
	defer close(over)
	s := acquirertest.Start(t, acquirertest.Config{})
	c := client(t, s)
	for n := range 1100 { // more than wait to be told
		a := acquirer.Authorisation{Payment: payment, Amount: uah(1), Token: acquirertest.TokenOf(good, later), NotifyURL: deaf.URL}
		if got := told(c.Authorise(t.Context(), fmt.Sprint(n), a)); got != "approved" {
			t.Fatalf("call %d: %s", n, got)
		}
	}
}
