package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/money"
)

const benchCurrency money.Currency = 810

const (
	benchOpening = 1_000_000_000_00 // in every wallet: nobody is refused for want of money
	benchAmounts = 1_000_00         // the largest amount
)

// created is what the mobile API answers to all that went well.
var created = answer{status: http.StatusCreated, body: `{"status":"success"`}

// benchAccount is an account that pays and is paid.
type benchAccount struct {
	id              int64
	session, number string
}

// benchPayment says who pays whom, by their places in the list of accounts. Where money
// comes from outside, from is nobody.
type benchPayment struct {
	from, to int
	amount   int64
}

// draw draws payments: all to the first account where the recipients are hot, else to
// anybody.
func draw(recipients string, accounts, n int) []benchPayment {
	payments := make([]benchPayment, n)
	for i := range payments {
		to := 0
		if recipients != "hot" {
			to = rand.IntN(accounts)
		}
		from := rand.IntN(accounts - 1)
		if from >= to {
			from++
		}
		payments[i] = benchPayment{from: from, to: to, amount: 1 + rand.Int64N(benchAmounts)}
	}
	return payments
}

// openAccounts opens accounts over HTTP.
func (b *bench) openAccounts(ctx context.Context, c *contender) error {
	return b.openAccountsAs(ctx, c, func(int) string { return `{"type":1}` })
}

func (b *bench) openAccountsAs(ctx context.Context, c *contender, phone func(i int) string) error {
	accounts := make([]benchAccount, b.benchOptions.accounts)
	requests := make([][]byte, len(accounts))
	for i := range requests {
		requests[i] = httpRequest("POST", "/mobile-api/account/add", phone(i))
	}
	err := b.call(ctx, c, "opening accounts", commands{requests: requests, want: created}, func(i int, a setUpAnswer) {
		accounts[i].session = a.SessionID
	})
	if err != nil {
		return err
	}
	for i, a := range accounts {
		requests[i] = httpRequest("GET", "/mobile-api/account/info/"+a.session, "")
	}
	err = b.call(ctx, c, "asking for their numbers", commands{requests: requests, want: created}, func(i int, a setUpAnswer) {
		accounts[i].id, accounts[i].number = a.Data.ID, a.Data.AccountNumber
	})
	b.accounts = accounts
	return err
}

// fund opens the wallets' balances, as an operator does.
func (b *bench) fund(ctx context.Context) (err error) {
	tick, done := b.show.begin("funding the wallets", len(b.accounts))
	defer func() { done(err) }()
	o := &operator{environ: b.environ}
	return o.withStore(ctx, func(s *store.Store) error { return b.openBalances(ctx, s, tick) })
}

func (b *bench) openBalances(ctx context.Context, s *store.Store, tick func()) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for _, a := range b.accounts {
		g.Go(func() error {
			opened, err := s.OpenBalance(ctx, a.number, money.Amount{Minor: benchOpening, Currency: benchCurrency}, uuid.New())
			if err == nil && !opened {
				err = errors.New("a random reference was used before")
			}
			tick()
			return err
		})
	}
	return g.Wait()
}

// call sends requests of the set-up. got is told of the answers, by many goroutines.
func (b *bench) call(ctx context.Context, c *contender, name string, all commands, got func(int, setUpAnswer)) error {
	_, err := b.timedCall(ctx, c, name, all, got)
	return err
}

// timedCall returns how many were answered a second as well.
func (b *bench) timedCall(ctx context.Context, c *contender, name string, all commands, got func(int, setUpAnswer)) (perS float64, err error) {
	tick, done := b.show.begin(name, len(all.requests))
	l := load{address: c.address, clients: b.clients, tick: tick, got: func(i int, body []byte) {
		var a setUpAnswer
		_ = json.Unmarshal(body, &a) // what is not there makes the next request fail
		got(i, a)
	}}
	t, err := l.run(ctx, all)
	done(err)
	return float64(len(all.requests)) / t.last.Sub(t.first).Seconds(), err
}

// setUpAnswer is what the set-up wants to know of the APIs' answers.
type setUpAnswer struct {
	ID        string `json:"id"`
	Number    string `json:"number"`
	SessionID string `json:"sessionId"`
	Data      struct {
		ID            int64  `json:"id"`
		AccountNumber string `json:"account_number"`
	} `json:"data"`
	AccessToken string `json:"access_token"`
}

// ceilingCommands are for the ceiling, whose accounts are numbered from 0. It measures the
// same transfers whatever the work is, so that all works have one ceiling.
func (b *bench) ceilingCommands(recipients string, n int) commands {
	all := commands{requests: make([][]byte, n), want: answer{status: http.StatusAccepted}}
	for i, p := range draw(recipients, b.benchOptions.accounts, n) {
		all.requests[i] = httpRequest("POST", "/transfers", fmt.Sprintf(`{"id":%q,"from":%d,"to":%d,"amount":%d}`,
			uuid.Must(uuid.NewV7()), p.from, p.to, p.amount))
	}
	return all
}
