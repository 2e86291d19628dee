package store

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// anySettings are sane and insane, in any combination.
func anySettings(t *rapid.T) (s EndpointSettings) {
	if rapid.Bool().Draw(t, "has url") {
		s.URL = new(rapid.SampledFrom([]string{"https://a.example/", "https://B.example:8443/x", "http://a.example/", "nonsense", ""}).Draw(t, "url"))
	}
	if rapid.Bool().Draw(t, "has types") {
		s.EventTypes = new(rapid.SliceOfN(rapid.SampledFrom(append(EventTypes(), EventCallbackTest, "payment.made")), 0, 3).Draw(t, "types"))
	}
	if rapid.Bool().Draw(t, "has limit") {
		s.RateLimit = new(rapid.IntRange(-1, maxRateLimit+1).Draw(t, "limit"))
	}
	if rapid.Bool().Draw(t, "has enabled") {
		s.Enabled = new(rapid.Bool().Draw(t, "enabled"))
	}
	return s
}

// asStored is an endpoint as the schema allows it.
func asStored(t *rapid.T) storedEndpoint {
	e := storedEndpoint{secret: []byte("secret"), deciding: time.Now(), Endpoint: Endpoint{ID: NewEndpointID(), Policy: PolicyStandard, URL: "https://a.example/", Origin: "https://a.example:443", State: EndpointEnabled}}
	if rapid.Bool().Draw(t, "of an invoice") {
		e.Policy, e.URL, e.secret = PolicyInvoicer, "", nil
	}
	if rapid.Bool().Draw(t, "disabled") {
		e.State = EndpointDisabled
		e.StateReason = rapid.SampledFrom([]DisabledReason{DisabledGone, DisabledFailing, DisabledByClient, DisabledByOperator}).Draw(t, "reason")
	}
	if rapid.Bool().Draw(t, "failing") {
		e.Failures, e.FailingSince = 3, new(time.Now())
	}
	return e
}

func TestWhateverIsDoneToAnEndpointItIsStorable(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		e := asStored(t)
		for range rapid.IntRange(1, 5).Draw(t, "commands") {
			was := e
			by := EndpointCommand{Client: rapid.Int64Range(0, 1).Draw(t, "client"), AllowHTTP: rapid.Bool().Draw(t, "plain")}
			var err error
			switch rapid.SampledFrom([]string{"change", "rotate", "delete"}).Draw(t, "command") {
			case "change":
				err = by.change(&e, anySettings(t))
			case "rotate":
				err = e.rotate([]byte("new"))
			case "delete":
				err = e.delete()
			}
			if err != nil {
				e = was // nothing is stored
				continue
			}
			checkStorable(t, was, e, by)
			if e.newKey != nil {
				e.secret, e.newKey = e.newKey, nil
			}
			if e.State == EndpointDeleted {
				return
			}
		}
	})
}

// checkStorable is what the schema demands, and what no client may do.
func checkStorable(t *rapid.T, was, e storedEndpoint, by EndpointCommand) {
	registered := e.Policy == PolicyStandard
	switch {
	case (e.StateReason != "") != (e.State == EndpointDisabled):
		t.Fatalf("%s for %q", e.State, e.StateReason)
	case (e.FailingSince != nil) != (e.Failures > 0):
		t.Fatalf("%d failures since %v", e.Failures, e.FailingSince)
	case registered != (e.URL != "") || registered != (e.secret != nil):
		t.Fatalf("%s with the URL %q", e.Policy, e.URL)
	case !registered && (len(e.EventTypes) > 0 || e.State == EndpointDeleted || e.oldSecret != nil):
		t.Fatalf("an invoice's: %+v", e)
	case (e.oldSecret != nil) != (e.OldSecretUntil != nil):
		t.Fatalf("an old secret until %v", e.OldSecretUntil)
	case e.RateLimit < 0 || e.RateLimit > maxRateLimit:
		t.Fatalf("a limit of %d", e.RateLimit)
	case e.URL != was.URL && strings.HasPrefix(e.URL, "http:") && !by.AllowHTTP:
		t.Fatalf("plain http: %s", e.URL)
	case e.State == EndpointEnabled && was.StateReason == DisabledByOperator && by.Client != 0:
		t.Fatal("a client enabled what an operator disabled")
	case by.Client != 0 && slices.Contains(e.EventTypes, EventInvoicePaid) && !slices.Contains(was.EventTypes, EventInvoicePaid):
		t.Fatal("a client chose what is nobody's")
	case slices.Contains(e.EventTypes, EventCallbackTest):
		t.Fatal("callback.test was chosen")
	}
}

func FuzzCallbackURL(f *testing.F) {
	for _, text := range []string{
		"https://a.example/told?a=1", "http://127.0.0.1:8090/inbox/x", "https://[2001:db8::1]:443/", "https://me@a.example", "https://a.example:/", "https://A.example#x",
		"https://a.example:99999", "HTTPS://xn--bcher-kva.example", "https://bücher.example/ж", "//a.example", "https://", "https://a.example/%zz", "https://a b/", "https://[fe80::1%25lo]/",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		_, wrong := readCallbackURL(text)
		if wrong != "" {
			return
		}
		r, err := http.NewRequest(http.MethodPost, text, http.NoBody)
		if err != nil {
			t.Fatalf("%q is taken and cannot be called: %v", text, err)
		}
		origin := originOf(text)
		u, err := url.Parse(origin)
		if err != nil || u.Port() == "" || u.Path != "" || origin != strings.ToLower(origin) || !strings.EqualFold(u.Hostname(), r.URL.Hostname()) {
			t.Fatalf("the origin of %q is %q", text, origin)
		}
		if originOf(origin) != origin {
			t.Fatalf("the origin of the origin of %q is %q", text, originOf(origin))
		}
	})
}
