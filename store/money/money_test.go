package money

import (
	"errors"
	"math"
	"testing"

	"pgregory.net/rapid"
)

func TestAmountsAreShownWithTheirDigits(t *testing.T) {
	t.Parallel()
	for _, story := range []struct {
		minor    int64
		currency Currency
		want     string
	}{
		{1250, 810, "12.50 RUR"},
		{5, 980, "0.05 UAH"},
		{-5, 978, "-0.05 EUR"},
		{7, 392, "7 JPY"},
		{1234, 414, "1.234 KWD"},
		{0, 990, "0.0000 CLF"},
		{math.MinInt64, 840, "-92233720368547758.08 USD"},
		{1, 1, "1 1"},
	} {
		if got := (Amount{story.minor, story.currency}).String(); got != story.want {
			t.Errorf("%d of %d: %q, want %q", story.minor, story.currency, got, story.want)
		}
	}
}

func TestAnAmountToBeMovedIsPositiveAndKnown(t *testing.T) {
	t.Parallel()
	for _, story := range []struct {
		minor    int64
		currency Currency
		want     error
	}{
		{1, 643, nil},
		{math.MaxInt64, 810, nil},
		{0, 643, ErrNotPositive},
		{-1, 643, ErrNotPositive},
		{1, 1, ErrUnknownCurrency},
		{1, 0, ErrUnknownCurrency},
	} {
		if _, err := NewAmount(story.minor, story.currency); !errors.Is(err, story.want) {
			t.Errorf("%d of %d: %v, want %v", story.minor, story.currency, err, story.want)
		}
	}
}

func TestACurrencysNumberIsNotCutShort(t *testing.T) {
	t.Parallel()
	for number, want := range map[int64]bool{810: true, 8: true, 0: false, -810: false, 65536 + 810: false, math.MaxInt64: false} {
		if _, ok := ParseCurrency(number); ok != want {
			t.Errorf("%d: %v, want %v", number, ok, want)
		}
	}
}

func TestASumIsExactOrRefused(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		minor := rapid.OneOf(rapid.Int64(), rapid.Int64Range(math.MaxInt64-9, math.MaxInt64), rapid.Int64Range(math.MinInt64, math.MinInt64+9))
		a, b := Amount{minor.Draw(t, "a"), 810}, Amount{minor.Draw(t, "b"), 810}
		sum, err := a.Add(b)
		wide := float64(a.Minor) + float64(b.Minor)
		switch {
		case err == nil && (sum.Minor-b.Minor != a.Minor || math.Abs(wide) > 1.0001*math.MaxInt64):
			t.Fatalf("%v + %v = %v", a, b, sum)
		case err != nil && math.Abs(wide) < 0.9999*math.MaxInt64:
			t.Fatalf("%v + %v: %v", a, b, err)
		}
	})
	if _, err := (Amount{1, 810}).Add(Amount{1, 643}); !errors.Is(err, ErrCurrencyMismatch) {
		t.Errorf("roubles of two kinds: %v", err)
	}
}
