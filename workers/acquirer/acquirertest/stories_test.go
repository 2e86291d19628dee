package acquirertest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/quittance/quittance/store/money"
	"github.com/quittance/quittance/workers/acquirer"
	"github.com/quittance/quittance/workers/acquirer/acquirertest"
)

// step is a call, and told is what it came to in one line: the answer's status and code, or
// what the error says.
type step func(context.Context, *acquirer.Client) (acquirer.Answer, error)

func authorise(id string, a acquirer.Authorisation) step {
	return func(ctx context.Context, c *acquirer.Client) (acquirer.Answer, error) { return c.Authorise(ctx, id, a) }
}

func confirm(id, code string) step {
	return func(ctx context.Context, c *acquirer.Client) (acquirer.Answer, error) {
		return c.Confirm(ctx, id, acquirer.Confirmation{Payment: payment, Of: authorised, Code: code})
	}
}

func movement(minor int64) acquirer.Movement {
	return acquirer.Movement{Payment: payment, Of: authorised, Amount: uah(minor)}
}

func capture(id string, minor int64) step {
	return func(ctx context.Context, c *acquirer.Client) (acquirer.Answer, error) {
		return c.Capture(ctx, id, movement(minor))
	}
}

func void(id string) step {
	return func(ctx context.Context, c *acquirer.Client) (acquirer.Answer, error) {
		return c.Void(ctx, id, movement(0))
	}
}

func refund(id string, minor int64) step {
	return func(ctx context.Context, c *acquirer.Client) (acquirer.Answer, error) {
		return c.Refund(ctx, id, movement(minor))
	}
}

func inquire(id string) step {
	return func(ctx context.Context, c *acquirer.Client) (acquirer.Answer, error) { return c.Inquire(ctx, id) }
}

func told(a acquirer.Answer, err error) string {
	switch {
	case errors.Is(err, acquirer.ErrNotSent):
		return "not sent"
	case errors.Is(err, acquirer.ErrRefused):
		return "refused"
	case errors.Is(err, acquirer.ErrNotFound):
		return "not found"
	case err != nil:
		return "unknown"
	}
	text := string(a.Status)
	if a.Code != "" {
		text += " " + a.Code
	}
	if a.Challenge != nil {
		text += fmt.Sprintf(" %s %d", a.Challenge.Type, a.Challenge.Left)
	}
	return text
}

// listed is an operation in one line: "capture c 60 taken".
func listed(all []acquirertest.Operation) (lines []string) {
	for _, o := range all {
		line := fmt.Sprintf("%s %s %d", o.Call, o.Key, o.Amount)
		if o.Captured {
			line += " taken"
		}
		lines = append(lines, line)
	}
	return lines
}

// story is what happens to a payment, and what is listed in the end.
type story struct {
	name  string
	steps []step
	told  []string
	list  []string
}

var stories = []story{
	{
		"a good card pays at once",
		[]step{authorise("a", pay(good, 100)), inquire("a")},
		[]string{"approved", "approved"},
		[]string{"authorise a 100 taken"},
	},
	{
		"a good card is held, and part of it taken",
		[]step{authorise("a", hold(good, 100)), capture("c", 60), refund("r", 60), refund("s", 1)},
		[]string{"approved", "approved", "approved", "declined beyond_captured"},
		[]string{"authorise a 100", "capture c 60 taken", "refund r 60", "refund s 1"},
	},
	{
		"nobody knows what was never asked",
		[]step{inquire("a"), confirm("f", "1234"), capture("c", 1), refund("r", 1)},
		[]string{"not found", "declined no_such_authorisation", "declined no_such_authorisation", "declined no_such_authorisation"},
		[]string{"confirm f 0", "capture c 1", "refund r 1"},
	},
	{
		"a card that is declined",
		[]step{authorise("a", pay(bad, 100)), inquire("a"), capture("c", 100), refund("r", 1), confirm("f", "1234")},
		[]string{"declined declined", "declined declined", "declined declined", "declined not_captured", "declined declined"},
		[]string{"authorise a 100", "capture c 100", "refund r 1", "confirm f 100"},
	},
	{
		"a card without money",
		[]step{authorise("a", pay(poor, 100))},
		[]string{"declined insufficient_funds"},
		[]string{"authorise a 100"},
	},
	{
		"3-D Secure: the payer confirms, and the money is taken then",
		[]step{authorise("a", pay(secure, 100)), inquire("a"), confirm("f", "1234"), confirm("g", "1234"), refund("r", 100)},
		[]string{"needs_confirmation 3DS 3", "needs_confirmation 3DS 3", "approved", "declined already_confirmed", "approved"},
		[]string{"authorise a 100", "confirm f 100 taken", "confirm g 100", "refund r 100"},
	},
	{
		"LOOKUP: a hold is confirmed, and taken later",
		[]step{authorise("a", hold(lookup, 100)), capture("b", 100), confirm("f", "1234"), capture("c", 100)},
		[]string{"needs_confirmation LOOKUP 3", "declined not_confirmed", "approved", "approved"},
		[]string{"authorise a 100", "capture b 100", "confirm f 100", "capture c 100 taken"},
	},
	{
		"three tries",
		[]step{authorise("a", pay(lookup, 100)), confirm("1", "0000"), confirm("2", "1111"), inquire("2"), confirm("3", "2222"), confirm("4", "1234")},
		[]string{
			"needs_confirmation LOOKUP 3", "needs_confirmation wrong_code LOOKUP 2", "needs_confirmation wrong_code LOOKUP 1",
			"needs_confirmation wrong_code LOOKUP 1", "declined wrong_code", "declined declined",
		},
		[]string{"authorise a 100", "confirm 1 100", "confirm 2 100", "confirm 3 100", "confirm 4 100"},
	},
	{
		"the payer gives up on the bank's page",
		[]step{authorise("a", pay(secure, 100)), confirm("f", "CANCELED"), confirm("g", "1234")},
		[]string{"needs_confirmation 3DS 3", "declined canceled", "declined declined"},
		[]string{"authorise a 100", "confirm f 100", "confirm g 100"},
	},
	{
		"the payer gives up here",
		[]step{authorise("a", pay(secure, 100)), void("v"), confirm("g", "1234"), inquire("v")},
		[]string{"needs_confirmation 3DS 3", "approved", "declined voided", "approved"},
		[]string{"authorise a 100", "void v 0", "confirm g 100"},
	},
	{
		"nobody is there to be asked",
		[]step{authorise("a", unattended(secure)), authorise("b", unattended(lookup)), authorise("c", unattended(good))},
		[]string{"declined authentication_required", "declined authentication_required", "approved"},
		[]string{"authorise a 100", "authorise b 100", "authorise c 100 taken"},
	},
	{
		"never beyond what is held",
		[]step{authorise("a", hold(good, 100)), capture("c", 101), capture("d", 100), capture("e", 1), void("v")},
		[]string{"approved", "declined beyond_hold", "approved", "declined already_captured", "declined already_captured"},
		[]string{"authorise a 100", "capture c 101", "capture d 100 taken", "capture e 1", "void v 0"},
	},
	{
		"never back beyond what was taken",
		[]step{authorise("a", pay(good, 100)), refund("r", 40), refund("s", 61), refund("u", 60), refund("w", 1)},
		[]string{"approved", "approved", "declined beyond_captured", "approved", "declined beyond_captured"},
		[]string{"authorise a 100 taken", "refund r 40", "refund s 61", "refund u 60", "refund w 1"},
	},
	{
		"what is only held cannot be given back",
		[]step{authorise("a", hold(good, 100)), refund("r", 1)},
		[]string{"approved", "declined not_captured"},
		[]string{"authorise a 100", "refund r 1"},
	},
	{
		"a hold that was let go, twice",
		[]step{authorise("a", hold(good, 100)), void("v"), void("w"), capture("c", 1)},
		[]string{"approved", "approved", "approved", "declined voided"},
		[]string{"authorise a 100", "void v 0", "void w 0", "capture c 1"},
	},
	{
		"a void overtakes its authorisation",
		[]step{void("v"), inquire("a"), authorise("a", pay(good, 100)), inquire("a"), void("w")},
		[]string{"approved", "declined voided", "declined voided", "declined voided", "approved"},
		[]string{"void v 0", "authorise a 100", "void w 0"},
	},
	{
		"charged, and the connection cut",
		[]step{authorise("a", pay(cutAfter, 100)), inquire("a"), authorise("a", pay(cutAfter, 100)), authorise("b", pay(cutAfter, 1))},
		[]string{"unknown", "approved", "approved", "unknown"},
		[]string{"authorise a 100 taken", "authorise b 1 taken"},
	},
	{
		"the connection cut before anything is done, and declined when asked again",
		[]step{authorise("a", pay(cutBefore, 100)), inquire("a"), authorise("a", pay(cutBefore, 100)), inquire("a")},
		[]string{"unknown", "not found", "declined declined", "declined declined"},
		[]string{"authorise a 100"},
	},
	{
		"cut before anything is done, and called off",
		[]step{authorise("a", pay(cutBefore, 100)), void("v"), authorise("a", pay(cutBefore, 100))},
		[]string{"unknown", "approved", "declined voided"},
		[]string{"void v 0", "authorise a 100"},
	},
	{
		"an expired card, a card of nobody, a card to nobody",
		[]step{authorise("a", of(acquirertest.TokenOf(good, "2020-01"), "")), authorise("b", of("nobody's", "")), authorise("c", of(acquirertest.TokenOf(good, later), "nobody's"))},
		[]string{"declined expired_card", "declined no_such_card", "declined no_such_card"},
		[]string{"authorise a 100", "authorise b 100", "authorise c 100"},
	},
	{
		"another payment's authorisation",
		[]step{authorise("a", pay(good, 100)), func(ctx context.Context, c *acquirer.Client) (acquirer.Answer, error) {
			return c.Refund(ctx, "r", acquirer.Movement{Payment: "other", Of: "a", Amount: uah(100)})
		}},
		[]string{"approved", "declined no_such_authorisation"},
		[]string{"authorise a 100 taken"},
	},
	{
		"another currency",
		[]step{authorise("a", pay(good, 100)), func(ctx context.Context, c *acquirer.Client) (acquirer.Answer, error) {
			return c.Refund(ctx, "r", acquirer.Movement{Payment: payment, Of: "a", Amount: money.Amount{Minor: 1, Currency: 840}})
		}},
		[]string{"approved", "declined wrong_currency"},
		[]string{"authorise a 100 taken", "refund r 1"},
	},
	{
		"the same id for something else",
		[]step{authorise("a", hold(good, 100)), authorise("a", hold(good, 101)), capture("a", 100), capture("c", 5), capture("c", 6), inquire("a")},
		[]string{"approved", "unknown", "unknown", "approved", "unknown", "approved"},
		[]string{"authorise a 100", "capture c 5 taken"},
	},
	{
		"every call twice",
		[]step{
			authorise("a", hold(lookup, 100)), authorise("a", hold(lookup, 100)), confirm("f", "0"), confirm("f", "0"), confirm("g", "1234"), confirm("g", "1234"),
			capture("c", 90), capture("c", 90), refund("r", 80), refund("r", 80),
		},
		[]string{
			"needs_confirmation LOOKUP 3", "needs_confirmation LOOKUP 3", "needs_confirmation wrong_code LOOKUP 2", "needs_confirmation wrong_code LOOKUP 2",
			"approved", "approved", "approved", "approved", "approved", "approved",
		},
		[]string{"authorise a 100", "confirm f 100", "confirm g 100", "capture c 90 taken", "refund r 80"},
	},
}

func unattended(number string) acquirer.Authorisation {
	a := pay(number, 100)
	a.Unattended = true
	return a
}

func of(token, to string) acquirer.Authorisation {
	return acquirer.Authorisation{Payment: payment, Amount: uah(100), Token: token, TokenTo: to}
}

func TestStories(t *testing.T) {
	t.Parallel()
	for _, r := range stories {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			s := acquirertest.Start(t, acquirertest.Config{})
			tell(t, s, r, func() {})
		})
	}
}

// The same stories, with a new process before every step.
func TestStoriesOutliveTheProcess(t *testing.T) {
	t.Parallel()
	for _, r := range stories {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			s := acquirertest.Start(t, acquirertest.Config{Folder: t.TempDir()})
			tell(t, s, r, s.Restart)
		})
	}
}

func tell(t *testing.T, s *acquirertest.Server, r story, between func()) {
	t.Helper()
	c := client(t, s)
	var got []string
	for _, do := range r.steps {
		got = append(got, told(do(t.Context(), c)))
		between()
	}
	if diff := cmp.Diff(r.told, got); diff != "" {
		t.Errorf("what it was told (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(r.list, listed(s.Operations(payment))); diff != "" {
		t.Errorf("what is listed (-want +got):\n%s", diff)
	}
}
