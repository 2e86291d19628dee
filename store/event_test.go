package store_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/jackc/pgx/v5"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/storetest"
)

// told returns the types of the events about a resource, in their order.
func told(t *testing.T, db *storetest.DB, resource [16]byte) []store.EventType {
	t.Helper()
	rows, _ := db.Pool().Query(t.Context(), "SELECT type FROM events WHERE resource = $1 ORDER BY id", resource)
	types, err := pgx.CollectRows(rows, pgx.RowTo[store.EventType])
	if err != nil {
		t.Fatal(err)
	}
	return types
}

// saidOf returns the body of the one event of a type about a resource, with NEW for its id and
// its time, which must be those of its row.
func saidOf(t *testing.T, db *storetest.DB, kind store.EventType, resource [16]byte) string {
	t.Helper()
	var id store.EventID
	var body string
	var at time.Time
	err := db.Pool().QueryRow(t.Context(), "SELECT id, body, created_at FROM events WHERE type = $1 AND resource = $2", kind, resource).Scan(&id, &body, &at)
	if err != nil {
		t.Fatalf("%s: %v", kind, err)
	}
	stamp := at.UTC().Format("2006-01-02T15:04:05.000000Z")
	want := `{"id":"` + id.String() + `","type":"` + string(kind) + `","timestamp":"` + stamp + `","data":`
	data, ok := strings.CutPrefix(body, want)
	if !ok {
		t.Fatalf("%s begins with %.150s, want %s", kind, body, want)
	}
	return strings.TrimSuffix(data, "}")
}

func checkSaid(t *testing.T, db *storetest.DB, kind store.EventType, resource [16]byte, want string) {
	t.Helper()
	want = strings.NewReplacer("\n", "", "\t", "").Replace(want)
	if diff := cmp.Diff(want, saidOf(t, db, kind, resource)); diff != "" {
		t.Errorf("%s: -want +got\n%s", kind, diff)
	}
}

func iso(at time.Time) string { return at.UTC().Format("2006-01-02T15:04:05.000Z") }

func TestAShopIsToldWhatBecameOfAPayment(t *testing.T) {
	t.Parallel()
	const yes, no, code = store.Approved, store.Declined, store.NeedsConfirmation
	for _, story := range []struct {
		name  string
		kind  store.InvoiceType
		steps []step
		want  []store.EventType
	}{
		{"it is finished", store.Pay, []step{{answer: yes}}, []store.EventType{"payment.finished"}},
		{"it is declined", store.Pay, []step{{answer: no}}, []store.EventType{"payment.rejected"}},
		{"the payer must confirm", store.Pay, []step{{answer: code}}, nil},
		{"nobody knows", store.Pay, []step{{answer: store.Unknown}}, nil},
		{"the payer confirms at last", store.Pay, []step{{answer: code}, {store.PaymentConfirm, 0, code}, {store.PaymentConfirm, 0, yes}}, []store.EventType{"payment.finished"}},
		{"it is held, and completed", store.Hold, []step{{answer: yes}, {store.PaymentComplete, 100, yes}}, []store.EventType{"payment.holded", "payment.finished"}},
		{"a completion is refused", store.Hold, []step{{answer: yes}, {store.PaymentComplete, 0, no}}, []store.EventType{"payment.holded"}},
		{"it is held, and cancelled", store.Hold, []step{{answer: yes}, {store.PaymentCancel, 0, yes}}, []store.EventType{"payment.holded", "payment.canceled"}},
		{
			"it is reversed in parts", store.Pay,
			[]step{{answer: yes}, {store.PaymentReverse, 1, yes}, {store.PaymentReverse, 2, yes}, {store.PaymentReverse, 0, yes}},
			[]store.EventType{"payment.finished", "payment.partly_reversed", "payment.partly_reversed", "payment.reversed"},
		},
		{"a reversal is refused", store.Pay, []step{{answer: yes}, {store.PaymentReverse, 1, no}}, []store.EventType{"payment.finished"}},
	} {
		t.Run(story.name, func(t *testing.T) {
			t.Parallel()
			db := storetest.New(t)
			p, ref := db.CardPayment(db.ShopInvoice(db.Shop(), ofType(story.kind)))
			for _, s := range story.steps {
				if s.command != "" {
					ref = db.PaymentCommand(s.command, p, s.amount)
				}
				call := db.Call(ref)
				db.Finish(call, s.answer)
				db.Finish(call, s.answer) // stale
			}
			if diff := cmp.Diff(story.want, told(t, db, p.ID), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
			db.CheckInvariants()
		})
	}
}

func TestAPaymentsEventSaysWhatTheOriginalsCallbackSays(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	shop := db.Shop()
	invoice := db.ShopInvoice(shop, func(n *store.NewShopInvoice) {
		n.SystemType, n.CardTo = store.P2P, db.Card(shop, "5269610005").ID
		n.ExternalID, n.ExtraInfo = `"<&>`, json.RawMessage(`{"url": "https://a.test/?b&c", "n": 9007199254740993.10}`)
	})
	p := db.Paid(invoice)
	shown := db.Payment(p.ID)
	want := `{"paymentId":"` + p.ID.String() + `","invoiceId":"` + invoice.ID.String() + `","externalId":"\"<&>","paymentNumber":NUMBER,
		"cardFromMasked":"4111111111","cardToMasked":"5269610005","amount":50000,"commission":1100,"status":"STATUS","type":"PAY","systemType":"P2P",
		"paymentStatus":"STATUS","reversedAmount":0,"receiptPath":"https://pay.test/api/acquiring/receipts/v2/` + p.ID.String() + `.pdf",
		"extraInfo":"{\"n\":9007199254740993.10,\"origin\":\"invoicer\",\"url\":\"https://a.test/?b&c\"}",
		"createDate":"` + iso(shown.CreatedAt) + `","payDate":"` + iso(*shown.PaidAt) + `","currency":"980"}`
	fill := func(shown store.CardPayment, status string) string {
		number, _ := json.Marshal(shown.Number)
		return strings.NewReplacer("NUMBER", string(number), "STATUS", status).Replace(want)
	}
	checkSaid(t, db, store.EventPaymentFinished, p.ID, fill(shown, "FINISHED"))

	db.Finish(db.Call(db.PaymentCommand(store.PaymentReverse, p, 20000)), store.Approved)
	checkSaid(t, db, store.EventPaymentPartlyReversed, p.ID, strings.Replace(fill(shown, "FINISHED"), `"reversedAmount":0`, `"reversedAmount":20000`, 1))
	db.Finish(db.Call(db.PaymentCommand(store.PaymentReverse, p, 0)), store.Approved)
	checkSaid(t, db, store.EventPaymentReversed, p.ID, strings.Replace(fill(shown, "REVERSED"), `"reversedAmount":0`, `"reversedAmount":50000`, 1))

	refused, ref := db.CardPayment(db.ShopInvoice(shop, nil))
	db.Finish(db.Call(ref), store.Declined)
	said := saidOf(t, db, store.EventPaymentRejected, refused.ID)
	for _, part := range []string{`"cardToMasked":null`, `"status":"CANCELED"`, `"paymentStatus":"REJECTED"`, `"payDate":null`, `"extraInfo":"{\"origin\":\"invoicer\"}"`} {
		if !strings.Contains(said, part) {
			t.Errorf("%s is not in %s", part, said)
		}
	}
	db.CheckInvariants()
}

func TestASubscriptionsEndIsToldOnce(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	const address = "https://shop.test/told"
	invoice := db.ShopInvoice(db.Shop(), func(n *store.NewShopInvoice) {
		n.Type, n.Interval, n.EndsAt, n.CallbackURL, n.ExternalID = store.Subscribe, 30, time.Now().Add(40*day), address, "sub"
	})
	end := func(want int) {
		t.Helper()
		if n, err := db.EndSubscriptions(t.Context(), 10); err != nil || n != want {
			t.Fatalf("%d subscriptions ended, %v, want %d", n, err, want)
		}
	}
	end(0)
	db.Ahead(41 * day)
	end(1)
	end(0)
	checkSaid(t, db, store.EventSubscriptionEnded, invoice.ID, `{"invoiceId":"`+invoice.ID.String()+`","externalId":"sub","status":"INACTIVE",
		"reason":"expired","endDate":"`+iso(invoice.EndsAt)+`"}`)
	if n := db.Count("SELECT count(*) FROM callbacks WHERE url = $1 AND invoice_id = $2", address, invoice.ID); n != 1 {
		t.Errorf("%d callbacks go to the invoice's callbackUrl, want 1", n)
	}
	db.CheckInvariants()
}

func TestWhoeverMadeARechargeIsToldItsEnd(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	db.Provider("external", nil)
	account := db.Account(0)
	db.Endpoint(db.BackOffice(), "https://office.test")
	for _, story := range []struct {
		kind store.OperationType
		want store.EventType
	}{{store.RechargeCommit, store.EventRechargeCommitted}, {store.RechargeRollback, store.EventRechargeRolledBack}} {
		id := db.Recharge(account, "12.5")
		db.SettleRecharge(db.Commanded(story.kind, id))
		r, err := db.Store.Recharge(t.Context(), "external", id)
		if err != nil {
			t.Fatal(err)
		}
		number, _ := json.Marshal([]int64{r.PaymentNo, account.ID})
		numbers := strings.Split(strings.Trim(string(number), "[]"), ",")
		checkSaid(t, db, story.want, id, `{"id":"`+id.String()+`","paymentNo":`+numbers[0]+`,"provider":"external","userId":`+numbers[1]+`,
			"amount":12.5,"currency":"RUR","description":"","state":"`+string(r.State)+`","created":"`+iso(r.CreatedAt)+`","updated":"`+iso(r.UpdatedAt)+`"}`)
	}
	late := db.Recharge(account, "1")
	db.Ahead(25 * time.Hour)
	if n, err := db.ExpireRecharges(t.Context(), 10); err != nil || n != 1 {
		t.Fatalf("%d expire, %v", n, err)
	}
	var expiry store.OperationID
	if err := db.Pool().QueryRow(t.Context(), "SELECT id FROM operations WHERE type = 'recharge.expire'").Scan(&expiry); err != nil {
		t.Fatal(err)
	}
	db.SettleRecharge(store.Ref{ID: expiry, Seq: 1})
	operation, err := db.AcceptLateRecharge(t.Context(), "external", late, "it came", "somebody")
	if err != nil {
		t.Fatal(err)
	}
	db.SettleRecharge(store.Ref{ID: operation, Seq: 1})
	if diff := cmp.Diff([]store.EventType{"recharge.expired"}, told(t, db, late)); diff != "" {
		t.Errorf("an expired one whose money came late: -want +got\n%s", diff)
	}
	if n := db.Count("SELECT count(*) FROM callbacks"); n != 3 {
		t.Errorf("%d callbacks, want one each", n)
	}
	db.CheckInvariants()
}

func TestAnInvoicePaidFromAWalletIsToldToTheHouseOnly(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	woken := 0
	db.OnOutbox(func() { woken++ })
	office := db.BackOffice()
	payer, shop, poor := db.Account(1000), db.Account(0), db.Account(0)
	pay := func() (number store.InvoiceNumber) {
		payment := db.Invoice(payer, shop, 5)
		id, err := db.AcceptPayment(t.Context(), payment)
		if err != nil {
			t.Fatal(err)
		}
		woken = 0
		db.Settle(store.Ref{ID: id, Seq: 1})
		return payment.Number
	}
	db.Endpoint(office, "https://office.test/all")
	first := pay()
	if woken != 0 {
		t.Error("the relay is woken for nothing")
	}
	checkSaid(t, db, store.EventInvoicePaid, first, `{"number":"`+first.String()+`","amount":5,"currencyCode":810,"description":"a test's",
		"payer":"`+payer.Number+`","recipient":"`+shop.Number+`","state":5}`)

	house := db.Endpoint(office, "https://house.test", store.EventInvoicePaid)
	second := pay()
	if woken != 1 {
		t.Errorf("the relay is woken %d times for a callback, want once", woken)
	}
	db.Settle(db.Accepted(poor, shop, 5)) // is refused
	if n := db.Count("SELECT count(*) FROM events"); n != 2 {
		t.Errorf("%d events, want those of the two that were paid", n)
	}
	if n := db.Count("SELECT count(*) FROM callbacks c JOIN events e ON e.id = c.event_id WHERE e.resource = $1 AND c.endpoint_id = $2", second, house); n != 1 || db.Count("SELECT count(*) FROM callbacks") != 1 {
		t.Error("others than the endpoint that names it are told")
	}
	db.CheckInvariants()
}
