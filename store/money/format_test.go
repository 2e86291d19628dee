package money_test

import (
	"math"
	"testing"

	"github.com/quittance/quittance/store/money"
)

func TestAnAmountIsShownAsALanguageWritesIt(t *testing.T) {
	t.Parallel()
	for _, story := range []struct {
		minor    int64
		currency money.Currency
		want     string
	}{
		{0, 980, "0,00"},
		{5, 980, "0,05"},
		{-5, 980, "-0,05"},
		{99999, 980, "999,99"},
		{100000, 980, "1 000,00"},
		{-123456789, 980, "-1 234 567,89"},
		{1234567, 392, "1 234 567"},
		{math.MinInt64, 980, "-92 233 720 368 547 758,08"},
	} {
		if got := (money.Amount{Minor: story.minor, Currency: story.currency}).Format(",", " "); got != story.want {
			t.Errorf("%d minor units of %s are shown as %q, want %q", story.minor, story.currency.Alpha(), got, story.want)
		}
	}
}
