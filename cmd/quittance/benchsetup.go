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

// created is what the API answers to all that went well.
var created = answer{status: http.StatusCreated, body: `{"status":"success"`}

// benchAccount is an account that pays and is paid.
type benchAccount struct{ session, number string }

// benchPayment says who pays whom, by their places in the list of accounts.
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

// issue issues invoices over HTTP and returns the requests that pay them.
func (b *bench) issue(ctx context.Context, c *contender, name, recipients string, n int) ([][]byte, error) {
	if b.accounts == nil {
		if err := b.makeAccounts(ctx, c); err != nil {
			return nil, err
		}
	}
	payments := draw(recipients, len(b.accounts), n)
	requests := make([][]byte, n)
	for i, p := range payments {
		requests[i] = b.invoiceRequest(p)
	}
	numbers := make([]string, n)
	err := b.call(ctx, c, name+": issuing invoices", requests, func(i int, body []byte) {
		numbers[i] = field(body, "number")
	})
	if err != nil {
		return nil, err
	}
	for i, p := range payments {
		requests[i] = b.payRequest(p, numbers[i])
	}
	return requests, b.analyse(ctx)
}

// makeAccounts opens accounts over HTTP and puts money into their wallets.
func (b *bench) makeAccounts(ctx context.Context, c *contender) error {
	accounts := make([]benchAccount, b.benchOptions.accounts)
	requests := make([][]byte, len(accounts))
	for i := range requests {
		requests[i] = httpRequest("POST", "/mobile-api/account/add", `{"type":1}`)
	}
	err := b.call(ctx, c, "opening accounts", requests, func(i int, body []byte) {
		accounts[i].session = field(body, "sessionId")
	})
	if err != nil {
		return err
	}
	for i, a := range accounts {
		requests[i] = httpRequest("GET", "/mobile-api/account/info/"+a.session, "")
	}
	err = b.call(ctx, c, "asking for their numbers", requests, func(i int, body []byte) {
		accounts[i].number = field(body, "account_number")
	})
	if err != nil {
		return err
	}
	b.accounts = accounts
	return b.fund(ctx)
}

// fund opens the wallets' balances, as an operator does.
func (b *bench) fund(ctx context.Context) (err error) {
	tick, done := b.show.begin("funding the wallets", len(b.accounts))
	defer func() { done(err) }()
	var secret store.Secret
	if err := secret.UnmarshalText([]byte(b.environ["QUITTANCE_SECRET_KEY"])); err != nil {
		return err
	}
	s, err := store.Open(ctx, store.Config{URL: b.environ["DATABASE_URL"], Secret: secret})
	if err != nil {
		return err
	}
	defer s.Close()
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

// call sends requests of the set-up.
func (b *bench) call(ctx context.Context, c *contender, name string, requests [][]byte, got func(int, []byte)) error {
	tick, done := b.show.begin(name, len(requests))
	l := load{address: c.address, clients: b.clients, want: created, got: got, tick: tick}
	_, err := l.run(ctx, requests)
	done(err)
	return err
}

func (b *bench) invoiceRequest(p benchPayment) []byte {
	from, to := b.accounts[p.from], b.accounts[p.to]
	return httpRequest("POST", "/mobile-api/invoice/make", fmt.Sprintf(
		`{"amount":%d,"items":[{"price":%d,"name":"Benchmark","selected":true}],"currencyCode":%d,"description":"Benchmark",`+
			`"payer":%q,"recipient":%q,"sessionId":%q,"nameCheque":"","datePayCheque":""}`,
		p.amount, p.amount, benchCurrency, from.number, to.number, to.session))
}

func (b *bench) payRequest(p benchPayment, number string) []byte {
	return httpRequest("POST", "/mobile-api/invoice/pay", fmt.Sprintf(
		`{"amount":%d,"currencyCode":%d,"description":"Benchmark","number":%q,"recipient":%q,"sessionId":%q}`,
		p.amount, benchCurrency, number, b.accounts[p.to].number, b.accounts[p.from].session))
}

// ceilingRequests are requests for the ceiling, whose accounts are numbered from 0.
func (b *bench) ceilingRequests(recipients string, n int) [][]byte {
	requests := make([][]byte, n)
	for i, p := range draw(recipients, b.benchOptions.accounts, n) {
		requests[i] = httpRequest("POST", "/transfers", fmt.Sprintf(`{"id":%q,"from":%d,"to":%d,"amount":%d}`,
			uuid.Must(uuid.NewV7()), p.from, p.to, p.amount))
	}
	return requests
}

// field returns a text of an answer, or of its data.
func field(body []byte, name string) string {
	var answer struct {
		Number    string `json:"number"`
		SessionID string `json:"sessionId"`
		Data      struct {
			AccountNumber string `json:"account_number"`
		} `json:"data"`
	}
	_ = json.Unmarshal(body, &answer) // what is not there makes the next request fail
	switch name {
	case "number":
		return answer.Number
	case "sessionId":
		return answer.SessionID
	}
	return answer.Data.AccountNumber
}
