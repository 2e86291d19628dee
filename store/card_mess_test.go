package store_test

import (
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/storetest"
)

// Two processes, commands that compete, messages that come twice, late and at once, answers
// that come twice or not at all: after each round the books are right, and in the end
// everything is known.
func TestNoMessLeavesTheBooksWrong(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	shop := db.Shop()
	processes := []*storetest.DB{db, db.Elsewhere()}
	var payments []store.NewCardPayment
	for i := range 24 {
		p, _ := db.CardPayment(db.ShopInvoice(shop, func(n *store.NewShopInvoice) {
			switch i % 3 {
			case 0:
				n.Type = store.Hold
			case 1:
				n.SystemType, n.CardTo = store.P2P, db.Card(shop, "5269610005").ID
			}
		}))
		payments = append(payments, p)
	}
	for round := range uint64(8) {
		refs := openRefs(t, db)
		refs = append(refs, refs...) // each comes twice
		for i, err := range atOnce(16, func(i int) error {
			s, random := processes[i%2], rand.New(rand.NewPCG(round, uint64(i)))
			for _, n := range random.Perm(len(refs)) {
				if err := callAndFinish(t, s, refs[n], random, round < 7); err != nil {
					return err
				}
			}
			return commandAtRandom(t, s, payments, random)
		}) {
			if err != nil {
				t.Errorf("round %d, %d: %v", round, i, err)
			}
		}
		db.CheckInvariants()
		db.EndLeases()
	}
	for range 2 { // what was commanded in the last round, and what was leased by somebody
		for _, ref := range openRefs(t, db) {
			if err := callAndFinish(t, db, ref, rand.New(rand.NewPCG(1, 1)), false); err != nil {
				t.Error(err)
			}
		}
		db.EndLeases()
	}
	if n := db.Count("SELECT count(*) FROM operations WHERE finished_at IS NULL"); n != 0 {
		t.Errorf("%d operations are not final", n)
	}
	db.CheckInvariants()
}

// openRefs are the messages that would be believed now.
func openRefs(t *testing.T, db *storetest.DB) []store.Ref {
	t.Helper()
	rows, _ := db.Pool().Query(t.Context(), "SELECT id, seq FROM operations WHERE finished_at IS NULL")
	refs, err := pgx.CollectRows(rows, pgx.RowToStructByPos[store.Ref])
	if err != nil {
		t.Fatal(err)
	}
	return refs
}

// callAndFinish handles a message as the card worker would, with a bad acquirer or a good one.
func callAndFinish(t *testing.T, s *storetest.DB, ref store.Ref, random *rand.Rand, bad bool) error {
	call, begun, err := s.StartCall(t.Context(), ref, storetest.Lease)
	if err != nil || !begun {
		return unlessBusy(err)
	}
	outcomes := []store.CallOutcome{store.Approved}
	if bad {
		outcomes = []store.CallOutcome{store.Approved, store.Approved, store.Declined, store.Unknown}
		if call.Call == store.CallAuthorise || call.Call == store.CallConfirm {
			outcomes = append(outcomes, store.NeedsConfirmation)
		}
		if random.IntN(10) == 0 {
			return nil // the process dies
		}
		if random.IntN(10) == 0 {
			return unlessBusy(s.ReleaseCall(t.Context(), call))
		}
	}
	r := storetest.Result(call, outcomes[random.IntN(len(outcomes))])
	for range 1 + random.IntN(2) { // some are told twice
		if _, err := s.FinishCall(t.Context(), r); err != nil {
			return unlessBusy(err)
		}
	}
	return unlessBusy(s.InquireNow(t.Context(), call.Intent))
}

// unlessBusy leaves out that a row was held for too long: the message comes again.
func unlessBusy(err error) error {
	if errors.Is(err, store.ErrUnavailable) && store.FaultOf(err) == store.FaultContention {
		return nil
	}
	return err
}

func commandAtRandom(t *testing.T, s *storetest.DB, payments []store.NewCardPayment, random *rand.Rand) error {
	kinds := []store.OperationType{store.PaymentConfirm, store.PaymentComplete, store.PaymentCancel, store.PaymentReverse}
	for range 12 {
		p := payments[random.IntN(len(payments))]
		_, err := s.AcceptPaymentCommand(t.Context(), store.PaymentCommand{
			Type: kinds[random.IntN(len(kinds))], Payment: p.ID, Invoice: p.Invoice, Client: p.Client, Amount: random.Int64N(40000), Code: "1234",
		})
		refused := errors.Is(err, store.ErrPaymentState) || errors.Is(err, store.ErrStepInProgress) || errors.Is(err, store.ErrBeyondLeft) || errors.Is(err, store.ErrBeyondHeld)
		if err != nil && !refused {
			return unlessBusy(err)
		}
	}
	return nil
}
