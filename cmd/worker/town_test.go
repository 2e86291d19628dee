package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/workers/acquirer/acquirertest"
)

// town is a shop with its payers, a worker process, and the acquirer's notifications on
// their way as the api takes them.
type town struct {
	*process
	t      *testing.T
	shop   store.Shop
	to     store.Card
	actors []*actor

	misfortunes map[string]acquirertest.Fault // by name
}

// actor plays a tale.
type actor struct {
	tale
	fault     string
	payment   store.NewCardPayment
	operation store.OperationID // that makes the call
}

func newTown(t *testing.T) *town {
	t.Helper()
	w := &town{process: prepare(t), t: t}
	w.shop = w.Shop()
	w.to = store.Card{ID: store.NewCardID(), Mask: recipient[:6] + recipient[12:], Expiry: "2099-12", Brand: "mastercard"}
	err := w.AddCard(t.Context(), store.NewCard{Card: w.to, Client: w.shop.Client, Token: acquirertest.TokenOf(recipient, w.to.Expiry)}, store.Once{})
	if err != nil {
		t.Fatal(err)
	}
	api := httptest.NewServer(http.HandlerFunc(w.notified))
	t.Cleanup(api.Close)
	w.environ["QUITTANCE_PUBLIC_URL"] = api.URL
	return w
}

// notified does what the api does with a notification.
func (w *town) notified(rw http.ResponseWriter, r *http.Request) {
	var hint struct {
		ID uuid.UUID `json:"id"`
	}
	if err := json.NewDecoder(r.Body).Decode(&hint); err != nil || r.URL.Path != "/api/acquiring/notifications" {
		w.t.Errorf("the acquirer posts to %s: %v", r.URL.Path, err)
	}
	if err := w.InquireNow(r.Context(), store.IntentID(hint.ID)); err != nil && r.Context().Err() == nil {
		w.t.Errorf("inquire now: %v", err)
	}
	rw.WriteHeader(http.StatusNoContent)
}

// enterAll makes an actor for each tale and each of the faults.
func (w *town) enterAll(faults map[string]acquirertest.Fault) {
	w.t.Helper()
	w.misfortunes = faults
	for name := range faults {
		for _, tell := range tales {
			w.enter(tell, name)
		}
	}
}

// enter issues a tale's invoice.
func (w *town) enter(tell tale, fault string) *actor {
	w.t.Helper()
	invoice := w.ShopInvoice(w.shop, func(n *store.NewShopInvoice) {
		tell.invoice(n)
		if n.SystemType == store.P2P {
			n.CardTo = w.to.ID
		}
	})
	card := store.Card{ID: store.NewCardID(), Mask: tell.card[:6] + tell.card[12:], Expiry: "2099-12", Brand: "visa"}
	a := &actor{tale: tell, fault: fault, payment: store.NewCardPayment{
		ID: store.NewPaymentID(), Intent: store.NewIntentID(), Invoice: invoice.ID, Client: w.shop.Client,
		Card: card, NewCard: true, Token: acquirertest.TokenOf(tell.card, card.Expiry), SavedToken: acquirertest.TokenOf(tell.card, card.Expiry),
	}}
	w.actors = append(w.actors, a)
	return a
}

func (w *town) pay(a *actor) {
	w.t.Helper()
	var err error
	if a.operation, err = w.CreateCardPayment(w.t.Context(), a.payment); err != nil {
		w.t.Fatal(err)
	}
}

// prepareAll brings each payment to where its tale begins, with a worker that meets no
// faults and ends.
func (w *town) prepareAll() {
	w.t.Helper()
	l := w.begin(w.t)
	for _, a := range w.actors {
		if a.ready != "" {
			w.pay(a)
		}
	}
	for _, a := range w.actors {
		if a.ready != "" {
			w.Eventually(a.name+" is ready", 1, "SELECT count(*) FROM payments WHERE id = $1 AND payment_status = $2", a.payment.ID, a.ready)
		}
	}
	l.stop()
}

// askAll asks for what the tales are about.
func (w *town) askAll() { w.askSome(func(*actor) bool { return true }) }

func (w *town) askSome(which func(*actor) bool) {
	w.t.Helper()
	for _, a := range w.actors {
		if !which(a) {
			continue
		}
		if a.ready == "" {
			w.pay(a)
		} else {
			a.ask(w, a)
		}
	}
}

func (w *town) command(a *actor, c store.PaymentCommand) {
	w.t.Helper()
	c.Payment, c.Invoice, c.Client = a.payment.ID, a.payment.Invoice, w.shop.Client
	var err error
	if a.operation, err = w.AcceptPaymentCommand(w.t.Context(), c); err != nil {
		w.t.Fatalf("%s: %v", a.name, err)
	}
}

func (w *town) confirm(a *actor) {
	w.command(a, store.PaymentCommand{Type: store.PaymentConfirm, Code: "1234"})
}

func (w *town) confirmWrongly(a *actor) {
	w.command(a, store.PaymentCommand{Type: store.PaymentConfirm, Code: "4321"})
}

func (w *town) complete(a *actor) {
	w.command(a, store.PaymentCommand{Type: store.PaymentComplete, Amount: 30000})
}

func (w *town) cancel(a *actor) { w.command(a, store.PaymentCommand{Type: store.PaymentCancel}) }

func (w *town) reverse(a *actor) { w.command(a, store.PaymentCommand{Type: store.PaymentReverse}) }

func (w *town) reversePart(a *actor) {
	w.command(a, store.PaymentCommand{Type: store.PaymentReverse, Amount: 20000})
}

// expire lets the payment's time be over, and does what the schedule worker does then.
func (w *town) expire(a *actor) {
	w.t.Helper()
	w.Exec("UPDATE payments SET expires_at = deciding_time() WHERE id = $1", a.payment.ID)
	if n, err := w.ExpirePayments(w.t.Context(), 10); err != nil || n != 1 {
		w.t.Fatalf("%s: %d expire: %v", a.name, n, err)
	}
	w.found(a)
}

// charge lets the subscription's next payment be due, and does what the schedule worker does
// then.
func (w *town) charge(a *actor) {
	w.t.Helper()
	w.Exec("UPDATE subscriptions SET due_at = deciding_time(), charge_at = deciding_time() WHERE invoice_id = $1", a.payment.Invoice)
	if n, err := w.ChargeSubscriptions(w.t.Context(), 10); err != nil || n != 1 {
		w.t.Fatalf("%s: %d are charged: %v", a.name, n, err)
	}
	const newest = "SELECT id FROM payments WHERE invoice_id = $1 ORDER BY number DESC LIMIT 1"
	if err := w.Pool().QueryRow(w.t.Context(), newest, a.payment.Invoice).Scan(&a.payment.ID); err != nil {
		w.t.Fatal(err)
	}
	w.found(a)
}

// found is the payment's open operation.
func (w *town) found(a *actor) {
	w.t.Helper()
	const open = "SELECT id FROM operations WHERE resource = $1 AND finished_at IS NULL AND type <> 'receipt.send'"
	if err := w.Pool().QueryRow(w.t.Context(), open, a.payment.ID).Scan(&a.operation); err != nil {
		w.t.Fatal(err)
	}
}

// strikeAll makes each tale's call fail as its actor says. All are struck when all calls are
// being made; none of them goes on before answer.
func (w *town) strikeAll() (allStruck <-chan struct{}, answer func()) {
	w.t.Helper()
	var struck sync.WaitGroup
	answered := make(chan struct{})
	for _, a := range w.actors {
		f := w.misfortunes[a.fault]
		f.Call, f.Payment = a.call, a.payment.ID.String()
		struck.Add(1)
		f.Struck = func() {
			struck.Done()
			<-answered
		}
		w.bank.Fault(f)
	}
	all := make(chan struct{})
	go func() {
		defer close(all)
		struck.Wait()
	}()
	return all, func() { close(answered) }
}

// check says how each tale ended, and compares it with the acquirer's own list.
func (w *town) check() {
	w.t.Helper()
	for _, a := range w.actors {
		o, err := w.Operation(w.t.Context(), a.operation)
		if err != nil {
			w.t.Fatal(err)
		}
		p := w.Payment(a.payment.ID)
		got := fmt.Sprintf("%s/%s, %s", p.Status, p.PaymentStatus, o.Status)
		if o.ErrorCode != "" {
			got += " " + o.ErrorCode
		}
		if got += w.listed(a); got != a.want {
			w.t.Errorf("%s, %s: it ends %s; want %s", a.name, a.fault, got, a.want)
		}
		if o.Attempts != 1 {
			w.t.Errorf("%s, %s: %d attempts are counted, want the one that ended it", a.name, a.fault, o.Attempts)
		}
	}
	if n := w.Count("SELECT count(*) FROM payments WHERE payment_status IN ('PENDING', 'OPEN')"); n != 0 {
		w.t.Errorf("%d payments are left unknown", n)
	}
	if n := w.Count("SELECT count(*) FROM dead_letters"); n != 0 {
		w.t.Errorf("%d dead letters", n)
	}
	w.CheckInvariants()
}

// listed says what the acquirer did for a payment: the call once, under its one id, and money
// taken once at most.
func (w *town) listed(a *actor) (moved string) {
	w.t.Helper()
	var intent uuid.UUID
	if err := w.Pool().QueryRow(w.t.Context(), "SELECT id FROM acquirer_intents WHERE operation_id = $1", a.operation).Scan(&intent); err != nil {
		w.t.Fatal(err)
	}
	var keys []string
	captures := 0
	var taken, back int64
	for _, o := range w.bank.Operations(a.payment.ID.String()) {
		if o.Call == a.call {
			keys = append(keys, o.Key)
		}
		if o.Captured {
			captures++
			taken += o.Amount
		}
		if o.Call == "refund" {
			back += o.Amount
		}
	}
	if diff := cmp.Diff([]string{intent.String()}, keys); diff != "" {
		w.t.Errorf("%s, %s: the acquirer did %s under these ids, -want +got\n%s", a.name, a.fault, a.call, diff)
	}
	if captures > 1 {
		w.t.Errorf("%s, %s: money was taken %d times", a.name, a.fault, captures)
	}
	if taken > 0 {
		moved += fmt.Sprintf(", taken %d", taken)
	}
	if back > 0 {
		moved += fmt.Sprintf(", given back %d", back)
	}
	return moved
}
