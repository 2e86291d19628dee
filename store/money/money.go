// Package money is amounts and currencies: integers of minor units, never floats.
//
// An Amount is always in one Currency, and arithmetic that would overflow or mix
// currencies is an error, so that a sum is either exact or refused.
package money

import (
	"errors"
	"fmt"
	"math"
	"strconv"
)

var (
	// ErrOverflow says that a sum does not fit in 64 bits. Nothing was added.
	ErrOverflow = errors.New("amount overflows")
	// ErrCurrencyMismatch says that two amounts are of different currencies.
	ErrCurrencyMismatch = errors.New("currencies differ")
	// ErrNotPositive says that an amount to be moved is zero or negative.
	ErrNotPositive = errors.New("amount is not positive")
	// ErrUnknownCurrency says that ISO 4217 has no currency of that code.
	ErrUnknownCurrency = errors.New("unknown currency")
)

// Amount is a number of minor units of one currency: 1000 RUR minor units are 10.00 roubles.
type Amount struct {
	Minor    int64
	Currency Currency
}

// NewAmount returns an amount that may be moved: positive, of a known currency. Its
// errors are ErrNotPositive and ErrUnknownCurrency.
func NewAmount(minor int64, c Currency) (Amount, error) {
	if !c.Known() {
		return Amount{}, ErrUnknownCurrency
	}
	if minor <= 0 {
		return Amount{}, ErrNotPositive
	}
	return Amount{Minor: minor, Currency: c}, nil
}

// Add returns a + b, or ErrOverflow or ErrCurrencyMismatch.
func (a Amount) Add(b Amount) (Amount, error) {
	if a.Currency != b.Currency {
		return Amount{}, ErrCurrencyMismatch
	}
	if (b.Minor > 0 && a.Minor > math.MaxInt64-b.Minor) || (b.Minor < 0 && a.Minor < math.MinInt64-b.Minor) {
		return Amount{}, ErrOverflow
	}
	return Amount{Minor: a.Minor + b.Minor, Currency: a.Currency}, nil
}

// String shows the amount as people write it, with the currency's digits: "10.00 RUR".
func (a Amount) String() string {
	digits := a.Currency.Exponent()
	s := strconv.FormatUint(magnitude(a.Minor), 10)
	if digits > 0 {
		s = fmt.Sprintf("%0*s", digits+1, s)
		s = s[:len(s)-digits] + "." + s[len(s)-digits:]
	}
	if a.Minor < 0 {
		s = "-" + s
	}
	return s + " " + a.Currency.Alpha()
}

func magnitude(n int64) uint64 {
	if n < 0 {
		return -uint64(n)
	}
	return uint64(n)
}
