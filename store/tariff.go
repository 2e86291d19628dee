package store

import (
	"fmt"
	"math/bits"
	"strings"
)

// Tariff is what a payment by card costs, on top of its amount: Millipercents thousandths
// of a percent of it and Fixed minor units.
type Tariff struct {
	Millipercents int64
	Fixed         int64
}

// The most that a tariff may be: the amount once more, and as much as one payment may be.
const (
	wholeMillipercents = 100_000
	maxFixedCommission = MaxCardAmount
)

// Commission is the tariff's for an amount of minor units, half up to whole ones.
func (t Tariff) Commission(minor int64) int64 {
	return (minor*t.Millipercents+wholeMillipercents/2)/wholeMillipercents + t.Fixed // of 1e17 + 1e12 at most
}

// Percents are the tariff's, as a decimal number with as few digits as it needs.
func (t Tariff) Percents() string {
	text := fmt.Sprintf("%d.%03d", t.Millipercents/1000, t.Millipercents%1000)
	return strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
}

func (t Tariff) sane() bool {
	return t.Millipercents >= 0 && t.Millipercents <= wholeMillipercents && t.Fixed >= 0 && t.Fixed <= maxFixedCommission
}

// chargedPayment is what a payment's commission follows.
type chargedPayment struct {
	amount              int64
	commission          int64
	tariff              Tariff
	itemised            bool // the commission is a sum over services
	completed           int64
	givenBack           int64 // of completed, or on its way back
	commissionGivenBack int64
}

// commissionOn is the commission of what is completed of the payment: its tariff's or, where
// that is a sum over services, the completed part's part of the sum, half up.
func (p chargedPayment) commissionOn(completed int64) int64 {
	switch {
	case completed == p.amount:
		return p.commission
	case p.itemised:
		return muldiv(p.commission, completed, p.amount, p.amount/2)
	}
	return p.tariff.Commission(completed)
}

// left is what has not been given back.
func (p chargedPayment) left() int64 { return p.completed - p.givenBack }

// commissionBack is what goes back of the commission with a part of the payment: the part's
// part of it, down to whole units, and all the rest with whatever leaves nothing. Where that
// rest went back with a part that left nothing at the time, and others were refused since, there
// may be less than the part's part.
func (p chargedPayment) commissionBack(part int64) int64 {
	rest := p.commission - p.commissionGivenBack
	if part == p.left() {
		return rest
	}
	return min(muldiv(p.commission, part, p.completed, 0), rest)
}

// muldiv is (a*b + add) / c, in 128 bits: of numbers below 2^63, with b and add no more than c.
func muldiv(a, b, c, add int64) int64 {
	hi, lo := bits.Mul64(uint64(a), uint64(b))
	lo, carry := bits.Add64(lo, uint64(add), 0)
	quotient, _ := bits.Div64(hi+carry, lo, uint64(c))
	return int64(quotient)
}
