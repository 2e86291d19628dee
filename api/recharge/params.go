package recharge

import (
	"cmp"
	"encoding/json"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/quittance/quittance/api"
	"github.com/quittance/quittance/store/money"
)

const (
	maxParams  = 16 << 10 // bytes
	maxMembers = 50
	maxName    = 100 // characters
)

// params is a JSON object, or the same in a JSON string. Three of its members mean
// something to us; the others are the client's own, and are kept as they were sent.
type params struct {
	sent      bool
	amount    api.Decimal
	currency  api.Text
	createdBy api.Integer
	own       map[string]json.RawMessage // never nil
}

func readParams(p api.Problems, o api.Object) params {
	read := params{own: map[string]json.RawMessage{}}
	text := []byte(o["params"])
	if text == nil || string(text) == "null" {
		return read
	}
	if text[0] == '"' {
		var inner string
		_ = json.Unmarshal(text, &inner) // it is a string
		text = []byte(inner)
	}
	p.Check("params", len(text) <= maxParams, "must have at most 16 KiB")
	members, wrong := api.ParseObject(text)
	p.Check("params", wrong == "", wrong)
	checkMembers(p, members)
	if p["params"] != "" {
		return read
	}
	read.sent = len(members) > 0
	members.Read("amount", &read.amount)
	members.Read("currency", &read.currency)
	members.Read("createdBy", &read.createdBy)
	for name, value := range members {
		if name != "amount" && name != "currency" && name != "createdBy" {
			p.Check("params", api.Storable(value), "has a number of more than 100 characters, or beyond 1e308")
			read.own[name] = value
		}
	}
	return read
}

func checkMembers(p api.Problems, members api.Object) {
	p.Check("params", len(members) <= maxMembers, "must have at most 50 members")
	for name := range members {
		p.Check("params", name != "" && utf8.RuneCountInString(name) <= maxName, "must have names of 1 to 100 characters")
		p.Check("params", !strings.ContainsFunc(name, unicode.IsControl), "must not have control characters in names")
	}
}

// sum is the money that a request names, in params or at top level.
type sum struct {
	amount   *money.Decimal // nil where it names none
	currency money.Currency // 0 where it names none
}

func sumOf(p api.Problems, o api.Object, in params) sum {
	var amount api.Decimal
	var currency api.Text
	o.Read("amount", &amount)
	o.Read("currency", &currency)
	return sum{amount: amountOf(p, amount, in.amount), currency: currencyOf(p, currency, in.currency)}
}

func amountOf(p api.Problems, top, inner api.Decimal) *money.Decimal {
	p.Optional("amount", top)
	p.Optional("params.amount", inner)
	switch {
	case top.Sent() && inner.Sent():
		p.Check("amount", top.Value == inner.Value, "must be the same as params.amount")
		return &top.Value
	case top.Sent():
		return &top.Value
	case inner.Sent():
		return &inner.Value
	}
	return nil
}

func currencyOf(p api.Problems, top, inner api.Text) money.Currency {
	outside, inside := letters(p, "currency", top), letters(p, "params.currency", inner)
	p.Check("currency", outside == 0 || inside == 0 || outside == inside, "must be the same as params.currency")
	return cmp.Or(outside, inside)
}

func letters(p api.Problems, name string, t api.Text) money.Currency {
	if !t.Sent() {
		return 0
	}
	c, known := money.ParseAlpha(t.Value)
	p.Check(name, known, "must be the three letters of an ISO 4217 currency")
	return c
}
