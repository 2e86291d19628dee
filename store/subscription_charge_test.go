package store_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/storetest"
)

// subscription is one that is watched while the clock is moved.
type subscription struct {
	*storetest.DB
	t       *testing.T
	invoice store.NewShopInvoice
	began   time.Time // the first payment, by the deciding clock
	ahead   time.Duration
}

// subscribe makes a subscription of 50000 every so many days, for a year and a day, and pays
// it for the first time.
func subscribe(t *testing.T, db *storetest.DB, days int) *subscription {
	t.Helper()
	now, ahead, err := db.DecidingTime(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s := &subscription{DB: db, t: t, ahead: ahead}
	s.invoice = db.ShopInvoice(db.Shop(), func(n *store.NewShopInvoice) {
		n.Type, n.Interval, n.EndsAt = store.Subscribe, days, now.Add(366*24*time.Hour)
	})
	db.Paid(s.invoice)
	paid := s.read().Subscription.PaidAt
	if paid == nil {
		t.Fatal("the first payment does not begin the subscription")
	}
	s.began = *paid
	return s
}

func (s *subscription) read() store.ShopInvoice {
	s.t.Helper()
	i, err := s.Store.ShopInvoice(s.t.Context(), s.invoice.ID)
	if err != nil {
		s.t.Fatal(err)
	}
	return i
}

// day moves the clock to n days, and an hour, after the first payment.
func (s *subscription) day(n int) {
	s.t.Helper()
	s.ahead = time.Duration(n)*24*time.Hour + time.Hour
	s.Ahead(s.ahead)
}

// charge looks for what is due, and says whether this subscription was.
func (s *subscription) charge() bool {
	s.t.Helper()
	if _, err := s.EndSubscriptions(s.t.Context(), 10); err != nil {
		s.t.Fatal(err)
	}
	n, err := s.ChargeSubscriptions(s.t.Context(), 10)
	if err != nil {
		s.t.Fatal(err)
	}
	return n == 1
}

// answer is the acquirer's to the open charge.
func (s *subscription) answer(outcome store.CallOutcome) store.CardCall {
	s.t.Helper()
	call := s.Call(refOf(s.DB, store.PaymentAuthorise))
	s.Finish(call, outcome)
	return call
}

// dueOn is the day of the next payment.
func (s *subscription) dueOn() int {
	s.t.Helper()
	due := s.read().Subscription.DueAt
	return int(due.Sub(s.began).Round(time.Hour).Hours() / 24)
}

func TestAYearOfASubscription(t *testing.T) {
	t.Parallel()
	s := subscribe(t, storetest.New(t), 30)
	if s.charge() {
		t.Error("it is charged as soon as it is paid")
	}
	charged := make(map[int]store.CallOutcome)
	decline := map[int]int{120: 2, 240: 3} // on these due dates, so many times
	for day := 1; day <= 370; day++ {
		s.day(day)
		if !s.charge() {
			continue
		}
		due := s.dueOn()
		outcome := store.Approved
		if decline[due] > 0 {
			decline[due]--
			outcome = store.Declined
		}
		charged[day] = outcome
		if s.charge() {
			t.Errorf("day %d: it is charged twice", day)
		}
		call := s.answer(outcome)
		if !call.Unattended || !call.Capture || call.Token != "token of 4111111111" || call.Amount != hryvnias(51100) {
			t.Errorf("day %d: the charge is %+v", day, call)
		}
		if s.charge() {
			t.Errorf("day %d: it is charged again at once", day)
		}
		s.CheckInvariants()
	}
	yes, no := store.Approved, store.Declined
	want := map[int]store.CallOutcome{
		30: yes, 60: yes, 90: yes,
		120: no, 121: no, 123: yes, // declined twice: tried again after 1 and 3 days
		150: yes, 180: yes, 210: yes,
		240: no, 241: no, 243: no, 245: yes, // and after 5
		270: yes, 300: yes, 330: yes, 360: yes,
	}
	if diff := cmp.Diff(want, charged); diff != "" {
		t.Errorf("days on which it was charged: -want +got\n%s", diff)
	}
	i := s.read()
	if i.Active || i.Subscription.Active {
		t.Error("it is active after its end")
	}
	if got := ledger(s.DB, "merchant", s.invoice.Shop.Client); got != 13*50000 {
		t.Errorf("the shop has %d, want 13 payments", got)
	}
}

func TestASubscriptionEndsWithItsLastTry(t *testing.T) {
	t.Parallel()
	s := subscribe(t, storetest.New(t), 7)
	for _, day := range []int{7, 8, 10, 12} {
		s.day(day)
		if !s.charge() {
			t.Fatalf("day %d: it is not charged", day)
		}
		s.answer(store.Declined)
		if active := s.read().Subscription.Active; active != (day != 12) {
			t.Errorf("day %d: active is %v", day, active)
		}
		s.CheckInvariants()
	}
	if said := saidOf(t, s.DB, store.EventSubscriptionEnded, s.invoice.ID); !strings.Contains(said, `"status":"INACTIVE","reason":"declined"`) {
		t.Errorf("its shop is told %s", said)
	}
	for _, day := range []int{13, 14, 30, 400} { // it has ended, and does not end again
		if s.day(day); s.charge() {
			t.Errorf("day %d: it is charged after its end", day)
		}
		if n, err := s.EndSubscriptions(t.Context(), 10); err != nil || n != 0 {
			t.Errorf("day %d: %d end, %v", day, n, err)
		}
	}
	s.CheckInvariants()
}

func TestMissedPeriodsAreSkipped(t *testing.T) {
	t.Parallel()
	s := subscribe(t, storetest.New(t), 10)
	s.day(35) // nobody looked for three periods
	if !s.charge() {
		t.Fatal("it is not charged")
	}
	s.answer(store.Approved)
	if got := s.dueOn(); got != 40 {
		t.Errorf("the next payment is due on day %d, want 40: the first that is still to come", got)
	}
	if s.charge() {
		t.Error("a missed period is caught up")
	}
	s.CheckInvariants()

	s.day(95)
	for range 3 { // what is long past its tries as well is tried once a day
		if !s.charge() {
			t.Fatal("it is not charged")
		}
		s.answer(store.Declined)
		if s.charge() {
			t.Error("it is tried again at once")
		}
		s.day(int(s.ahead.Hours()/24) + 2)
	}
	s.CheckInvariants()
}

func TestNothingIsChargedWhileAChargeIsUnknown(t *testing.T) {
	t.Parallel()
	s := subscribe(t, storetest.New(t), 10)
	s.day(10)
	if !s.charge() {
		t.Fatal("it is not charged")
	}
	call := s.answer(store.Unknown)
	for _, day := range []int{11, 20, 33} {
		if s.day(day); s.charge() {
			t.Errorf("day %d: it is charged beside a charge of which nobody knows", day)
		}
	}
	s.EndLeases()
	s.Finish(s.Call(s.Ref(call.Operation)), store.Approved)
	if got := s.dueOn(); got != 40 {
		t.Errorf("the next payment is due on day %d, want 40", got)
	}
	s.CheckInvariants()
}

// A charge that its bank wants confirmed after all has nobody to confirm it: it is as good as
// declined.
func TestAChargeThatNobodyConfirmsIsTriedAgain(t *testing.T) {
	t.Parallel()
	s := subscribe(t, storetest.New(t), 10)
	s.day(10)
	if !s.charge() {
		t.Fatal("it is not charged")
	}
	s.answer(store.NeedsConfirmation)
	s.ahead += time.Hour
	s.Ahead(s.ahead)
	if n, err := s.ExpirePayments(t.Context(), 10); err != nil || n != 1 {
		t.Fatalf("%d expire, %v", n, err)
	}
	s.Finish(s.Call(refOf(s.DB, store.PaymentExpire)), store.Approved)
	if s.charge() {
		t.Error("it is charged again at once")
	}
	if s.day(11); !s.charge() {
		t.Error("it is not charged again after a day")
	}
	s.CheckInvariants()
}

// The shop lengthens the interval while a charge for the old date is under way.
func TestAChargeForADateThatWasMovedIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	s := subscribe(t, storetest.New(t), 10)
	s.day(10)
	if !s.charge() {
		t.Fatal("it is not charged")
	}
	_, err := s.UpdateSubscription(t.Context(), store.SubscriptionChange{
		Client: s.invoice.Shop.Client, Invoice: s.invoice.ID, Interval: 20, Answer: func(store.ShopInvoice) store.Answer { return store.Answer{} },
	})
	if err != nil {
		t.Fatal(err)
	}
	s.answer(store.Declined)
	for _, day := range []int{11, 15, 19} {
		if s.day(day); s.charge() {
			t.Errorf("day %d: it is charged", day)
		}
	}
	if s.day(20); !s.charge() {
		t.Error("it is not charged on the new date")
	}
	s.answer(store.Approved)
	if got := s.dueOn(); got != 40 {
		t.Errorf("the next payment is due on day %d, want 40", got)
	}
	s.CheckInvariants()
}

func TestADisabledShopsSubscriptionsRest(t *testing.T) {
	t.Parallel()
	s := subscribe(t, storetest.New(t), 10)
	s.Exec("UPDATE clients SET disabled = true")
	if s.day(10); s.charge() {
		t.Error("it is charged for a disabled shop")
	}
	s.Exec("UPDATE clients SET disabled = false")
	if !s.charge() {
		t.Error("it is not charged once the shop is enabled")
	}
}

func TestASubscriptionIsChargedOnceHoweverManyLook(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	var all []*subscription
	for range 5 {
		all = append(all, subscribe(t, db, 30))
	}
	db.Ahead(30*24*time.Hour + time.Hour)
	processes := []*storetest.DB{db, db.Elsewhere()}
	counts := make([]int, 8)
	for _, err := range atOnce(len(counts), func(i int) (err error) {
		counts[i], err = processes[i%2].ChargeSubscriptions(t.Context(), 3)
		return err
	}) {
		if err != nil {
			t.Error(err)
		}
	}
	total := 0
	for _, n := range counts {
		total += n
	}
	rest, err := db.ChargeSubscriptions(t.Context(), 10) // those that somebody held
	if err != nil {
		t.Fatal(err)
	}
	if total+rest != len(all) {
		t.Errorf("%d and %d are charged, want %d in all", total, rest, len(all))
	}
	db.CheckInvariants()
}

// A token that cannot be read is its own subscription's misfortune.
func TestACardThatCannotBeReadHoldsUpNoOtherSubscription(t *testing.T) {
	t.Parallel()
	s := subscribe(t, storetest.New(t), 30)
	broken := subscribe(t, s.DB, 30)
	s.Exec("UPDATE cards SET token = 'unreadable' WHERE id = (SELECT card_id FROM subscriptions WHERE invoice_id = $1)", broken.invoice.ID)
	s.day(31)
	n, err := s.ChargeSubscriptions(t.Context(), 10)
	if n != 1 || err == nil {
		t.Fatalf("%d are charged (%v), want the other one, and to hear of the broken one", n, err)
	}
	if call := s.Call(refOf(s.DB, store.PaymentAuthorise)); call.Token != "token of 4111111111" {
		t.Errorf("the charge is %+v", call)
	}
	s.CheckInvariants()
}
