package main

import (
	"context"
	"fmt"
	"slices"
)

// paymentWork pays invoices from wallet to wallet by the mobile API. A payment is one
// request; its invoice is issued ahead of the clock.
var paymentWork = work{
	name: "payment", doing: "paying",
	setUp:   (*bench).openFundedAccounts,
	prepare: (*bench).issueInvoices, saturate: (*bench).saturate,
	books: operationsSQL,
	promises: slices.Concat(commonBooks, []promise{
		{"every payment has one transfer", `
			SELECT abs(@accepted::bigint - count(DISTINCT (reference, operation_id))) + count(*) - count(DISTINCT reference)
			FROM transfers WHERE kind = 'payment'`},
		{"every payment has paid its invoice", `
			SELECT abs(@accepted::bigint - count(*)) FROM invoices WHERE state = 5`},
	}),
}

func (b *bench) openFundedAccounts(ctx context.Context, c *contender) error {
	if err := b.openAccounts(ctx, c); err != nil {
		return err
	}
	return b.fund(ctx)
}

// issueInvoices issues invoices over HTTP and returns the requests that pay them.
func (b *bench) issueInvoices(ctx context.Context, c *contender, name, recipients string, n int) (commands, error) {
	payments := draw(recipients, len(b.accounts), n)
	requests := make([][]byte, n)
	for i, p := range payments {
		requests[i] = b.invoiceRequest(p)
	}
	numbers := make([]string, n)
	err := b.call(ctx, c, name+": issuing invoices", commands{requests: requests, want: created}, func(i int, a setUpAnswer) {
		numbers[i] = a.Number
	})
	if err != nil {
		return commands{}, err
	}
	for i, p := range payments {
		requests[i] = b.payRequest(p, numbers[i])
	}
	return commands{requests: requests, want: created}, b.analyse(ctx)
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
