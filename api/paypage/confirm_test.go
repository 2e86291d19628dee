package paypage

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/quittance/quittance/store"
)

func (p *payer) asked(kind string) string {
	return p.payment(store.StatusNew, store.PaymentNeedsConfirmation, func(one *store.CardPayment) {
		one.Confirmation = &store.Confirmation{Type: kind, URL: "https://bank.example/", Left: 2}
	})
}

func TestTheBankComesBackWithoutAFormOfOurs(t *testing.T) {
	t.Parallel()
	for _, story := range []struct {
		name   string
		form   func(url.Values)
		err    error
		status int
		asked  bool
	}{
		{name: "with what it says", status: 303, asked: true},
		{name: "twice", err: store.ErrStepInProgress, status: 303, asked: true},
		{name: "too late", err: store.ErrPaymentState, status: 303, asked: true},
		{name: "about another payment", form: set("MD", store.NewPaymentID().String()), status: 400},
		{name: "about none", form: set("MD", ""), status: 400},
		{name: "with nothing to say", form: set("PaRes", ""), status: 400},
		{name: "with too much to say", form: set("PaRes", strings.Repeat("x", maxReturn)), status: 413},
		{name: "and the database is away", err: store.ErrUnavailable, status: 503, asked: true},
		{name: "and we are wrong", err: errors.New("x"), status: 500, asked: true},
	} {
		t.Run(story.name, func(t *testing.T) {
			t.Parallel()
			p := newPayer(t, nil)
			path := p.asked("3DS")
			one := p.books.invoice.Payments[0]
			form := url.Values{"PaRes": {"the bank's word"}, "MD": {one.ID.String()}, "extra": {"1"}}
			if story.form != nil {
				story.form(form)
			}
			p.books.err = story.err
			w := p.post(path+"/3ds", form)
			if w.Code != story.status || story.status == 303 && w.Header().Get("Location") != path+"?tried" {
				t.Errorf("%d to %s, want %d", w.Code, w.Header().Get("Location"), story.status)
			}
			var want []store.PaymentCommand
			if story.asked {
				want = []store.PaymentCommand{{Type: store.PaymentConfirm, Payment: one.ID, Invoice: one.Invoice, Code: "the bank's word"}}
			}
			if diff := cmp.Diff(want, p.books.commands); diff != "" {
				t.Errorf("commands (-want +got):\n%s", diff)
			}
		})
	}
}

func TestACodeIsConfirmedAndAPaymentGivenUpByAForm(t *testing.T) {
	t.Parallel()
	for _, story := range []struct {
		name string
		path string
		form func(url.Values)
		err  error
		to   string // behind the payment's path
		want []store.PaymentCommand
	}{
		{name: "a code", path: "/confirm", to: "?tried", want: []store.PaymentCommand{{Type: store.PaymentConfirm, Code: "1234"}}},
		{name: "a code with spaces", path: "/confirm", form: set("code", "12 34"), to: "?tried", want: []store.PaymentCommand{{Type: store.PaymentConfirm, Code: "1234"}}},
		{name: "the same form again", path: "/confirm", err: &store.Replay{}, to: "?tried", want: []store.PaymentCommand{{Type: store.PaymentConfirm, Code: "1234"}}},
		{name: "no code", path: "/confirm", form: set("code", ""), to: "?tried"},
		{name: "a form that is not ours", path: "/confirm", form: set("form", ""), to: ""},
		{name: "given up", path: "/cancel", to: "", want: []store.PaymentCommand{{Type: store.PaymentCancel}}},
		{name: "given up too late", path: "/cancel", err: store.ErrPaymentState, to: "", want: []store.PaymentCommand{{Type: store.PaymentCancel}}},
		{name: "given up by a form that is not ours", path: "/cancel", form: set("form", "x"), to: ""},
	} {
		t.Run(story.name, func(t *testing.T) {
			t.Parallel()
			p := newPayer(t, nil)
			path := p.asked("LOOKUP")
			form := p.form(path)
			form.Set("code", "1234")
			if story.form != nil {
				story.form(form)
			}
			p.books.err = story.err
			w := p.post(path+story.path, form)
			if w.Code != http.StatusSeeOther || w.Header().Get("Location") != path+story.to {
				t.Errorf("%d to %s, want %s", w.Code, w.Header().Get("Location"), path+story.to)
			}
			if diff := cmp.Diff(story.want, p.books.commands, cmpopts.IgnoreFields(store.PaymentCommand{}, "Payment", "Invoice", "Once")); diff != "" {
				t.Errorf("commands (-want +got):\n%s", diff)
			}
			for _, c := range p.books.commands {
				if c.Client != 0 || c.Invoice != p.books.invoice.ID || c.Payment != p.books.invoice.Payments[0].ID || c.Once.Key == "" || c.Once.Scope != "page "+c.Invoice.String() {
					t.Errorf("the command is %+v", c)
				}
			}
		})
	}
}

func TestAWrongCodeIsSaid(t *testing.T) {
	t.Parallel()
	p := newPayer(t, nil)
	check(t, p.get(p.asked("LOOKUP")+"?tried"), 200, []string{"The code was not right", `aria-invalid="true"`, "Tries left: 2"}, nil)
	check(t, p.get(p.asked("3DS")+"?tried"), 200, []string{"did not accept", `role="alert"`}, nil)
}
