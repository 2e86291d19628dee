package store_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/storetest"
)

const inASet = 300

// settleSets settles set after set of what accept accepts, and reports what a set took.
func settleSets(b *testing.B, accept func(i int) store.Ref, settle func(context.Context, []store.Ref) ([]store.Outcome, error)) {
	b.Helper()
	var took []time.Duration
	b.ResetTimer()
	for range b.N {
		b.StopTimer()
		refs := make([]store.Ref, inASet)
		var g errgroup.Group
		g.SetLimit(32)
		for i := range refs {
			g.Go(func() error { refs[i] = accept(i); return nil })
		}
		_ = g.Wait() // accept ends the test should it fail
		b.StartTimer()
		start := time.Now()
		if _, err := settle(b.Context(), refs); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(start))
	}
	reportTimes(b, took)
}

// The two that must be quick, with nobody to be told: what they cost is mostly the database's.
func BenchmarkPayInvoices(b *testing.B) {
	db := storetest.New(b)
	payers, shop := make([]storetest.Account, 50), db.Account(0)
	for i := range payers {
		payers[i] = db.Account(1_000_000)
	}
	settleSets(b, func(i int) store.Ref { return db.Accepted(payers[i%len(payers)], shop, 1) }, db.PayInvoices)
}

func BenchmarkSettleRecharges(b *testing.B) {
	db := storetest.New(b)
	db.Provider("external", nil)
	accounts := make([]storetest.Account, 50)
	for i := range accounts {
		accounts[i] = db.Account(0)
	}
	db.Recharge(accounts[0], "1") // makes the back office
	settleSets(b, func(i int) store.Ref {
		return db.Commanded(store.RechargeCommit, db.Recharge(accounts[i%len(accounts)], "1"))
	}, db.SettleRecharges)
}

// reportTimes reports what a set took when nothing disturbed it, and in the middle.
func reportTimes(b *testing.B, took []time.Duration) {
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/10].Microseconds())/1000, "ms/set-p10")
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "ms/set-p50")
}
