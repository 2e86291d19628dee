package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/money"
	"github.com/quittance/quittance/workers/acquirer/acquirertest"
)

// rechargeWork tops wallets up by the recharge API. A recharge is two requests: all are
// created, and then all are committed, both with the clock running. It is accepted when its
// commit is, and settled when its wallet is credited.
var rechargeWork = work{
	name: "recharge", doing: "committing",
	setUp:   (*bench).openAccountsBesideDemo,
	prepare: (*bench).createRecharges, saturate: (*bench).saturate,
	books: operationsSQL,
	promises: slices.Concat(commonBooks, []promise{
		{"every recharge that was created is committed", `
			SELECT abs(@accepted::bigint - count(*) FILTER (WHERE state = 'committed')) + count(*) FILTER (WHERE state <> 'committed')
			FROM recharges`},
		{"every recharge has one transfer: its amount, from a provider to the wallet of its account", `
			SELECT count(*) FROM (
				SELECT FROM recharges r
				LEFT JOIN transfers t       ON t.reference = r.id
				LEFT JOIN ledger_accounts d ON d.id = t.debit AND d.kind = 'provider_clearing' AND d.owner = r.provider_id
				LEFT JOIN ledger_accounts c ON c.id = t.credit AND c.kind = 'wallet' AND c.owner = r.account_id
				LEFT JOIN operations o      ON o.id = t.operation_id AND o.type = 'recharge.commit' AND o.resource = r.id
				GROUP BY r.id
				HAVING count(*) <> 1 OR NOT bool_and(coalesce(
					t.kind = 'recharge' AND t.amount = r.amount AND t.currency = r.currency
					AND d.id IS NOT NULL AND c.id IS NOT NULL AND o.id IS NOT NULL, false))) wrong`},
		{"nothing was credited but recharges", `
			SELECT abs(@accepted::bigint - count(*)) FROM transfers WHERE kind <> 'opening'`},
	}),
}

// What the demo has for back offices.
const (
	benchProvider     = "external"
	benchTokenRequest = `{"grant_type":"client_credentials","scope":"credit","client_id":"demo","client_secret":"demo-secret"}`
)

// openAccountsBesideDemo loads the demo's client and provider. They come first: the demo's
// accounts have fixed ids, and others are numbered past them.
func (b *bench) openAccountsBesideDemo(ctx context.Context, c *contender) error {
	o := &operator{environ: b.environ}
	if err := o.withStore(ctx, func(s *store.Store) error { return s.LoadDemo(ctx, acquirertest.TokenOf) }); err != nil {
		return err
	}
	return b.openAccounts(ctx, c)
}

// createRecharges creates recharges as fast as they are answered, and returns the requests
// that commit them. It takes a new token each time: one lives for half an hour, and many
// rounds take longer.
func (b *bench) createRecharges(ctx context.Context, c *contender, name, recipients string, n int) (commands, error) {
	token, err := b.takeToken(ctx, c, name)
	if err != nil {
		return commands{}, err
	}
	authorization := "Authorization: Bearer " + token
	payments := "/v3/rechargeProviders/" + benchProvider + "/payments"
	requests := make([][]byte, n)
	for i, p := range draw(recipients, len(b.accounts), n) {
		amount := money.Amount{Minor: p.amount, Currency: benchCurrency}
		requests[i] = httpRequest("POST", payments,
			fmt.Sprintf(`{"userId":%d,"params":{"amount":%s}}`, b.accounts[p.to].id, amount.Decimal()), authorization)
	}
	ids := make([]string, n)
	perS, err := b.timedCall(ctx, c, name+": creating", commands{requests: requests, want: answer{status: http.StatusCreated, body: "{"}},
		func(i int, a setUpAnswer) { ids[i] = a.ID })
	if err != nil {
		return commands{}, err
	}
	for i, id := range ids {
		requests[i] = httpRequest("POST", payments+"/"+id+"/commit", "", authorization)
	}
	return commands{requests: requests, want: answer{status: http.StatusAccepted, body: `{"amount":`}, preparedPerS: perS}, b.analyse(ctx)
}

func (b *bench) takeToken(ctx context.Context, c *contender, name string) (token string, err error) {
	request := commands{
		requests: [][]byte{httpRequest("POST", "/api/auth/token", benchTokenRequest)},
		want:     answer{status: http.StatusOK, body: "{"},
	}
	err = b.call(ctx, c, name+": taking a token", request, func(_ int, a setUpAnswer) { token = a.AccessToken })
	if err == nil && token == "" {
		err = errors.New("the answer to client_credentials has no access_token")
	}
	return token, err
}
