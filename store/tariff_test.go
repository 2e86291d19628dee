package store

import (
	"math/big"
	"testing"

	"pgregory.net/rapid"
)

// halfUp is a*b/c in numbers of any size, half up to whole ones.
func halfUp(a, b, c int64) int64 {
	twice := new(big.Int).Mul(big.NewInt(2*a), big.NewInt(b))
	twice.Add(twice, big.NewInt(c))
	return twice.Div(twice, big.NewInt(2*c)).Int64()
}

func genTariff(t *rapid.T) Tariff {
	return Tariff{
		Millipercents: rapid.Int64Range(0, wholeMillipercents).Draw(t, "millipercents"),
		Fixed:         rapid.Int64Range(0, maxFixedCommission).Draw(t, "fixed"),
	}
}

var genAmount = rapid.OneOf(rapid.Int64Range(1, 200), rapid.Int64Range(1, MaxCardAmount))

func TestCommissionIsTheShareHalfUpAndTheFixedPart(t *testing.T) {
	t.Parallel()
	for _, story := range []struct {
		tariff Tariff
		amount int64
		want   int64
	}{
		{Tariff{2000, 100}, 50000, 1100}, // the original's example
		{Tariff{2000, 100}, 100, 102},
		{Tariff{2500, 0}, 20, 1}, // 0.5
		{Tariff{2500, 0}, 19, 0}, // 0.475
		{Tariff{0, 0}, MaxCardAmount, 0},
		{Tariff{wholeMillipercents, maxFixedCommission}, MaxCardAmount, 2 * MaxCardAmount},
	} {
		if got := story.tariff.Commission(story.amount); got != story.want {
			t.Errorf("%+v on %d: %d, want %d", story.tariff, story.amount, got, story.want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		tariff, amount := genTariff(t), genAmount.Draw(t, "amount")
		got := tariff.Commission(amount)
		if want := halfUp(amount, tariff.Millipercents, wholeMillipercents) + tariff.Fixed; got != want {
			t.Fatalf("%d, want %d", got, want)
		}
		if less := tariff.Commission(max(amount-1, 1)); less > got {
			t.Fatalf("less costs more: %d, not %d", less, got)
		}
	})
}

// genCharged draws a payment before it is completed.
func genCharged(t *rapid.T) chargedPayment {
	p := chargedPayment{amount: genAmount.Draw(t, "amount"), tariff: genTariff(t), itemised: rapid.Bool().Draw(t, "itemised")}
	p.commission = p.tariff.Commission(p.amount)
	if p.itemised {
		p.commission = rapid.Int64Range(0, 2*MaxCardAmount).Draw(t, "commission")
	}
	return p
}

func TestWhatIsCompletedTakesItsCommission(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := genCharged(t)
		completed := rapid.Int64Range(1, p.amount).Draw(t, "completed")
		got := p.commissionOn(completed)
		want := p.tariff.Commission(completed)
		if p.itemised {
			want = halfUp(p.commission, completed, p.amount)
		}
		if got != want || got < 0 || got > p.commission {
			t.Fatalf("%d of %+v: %d, want %d, and no more than all", completed, p, got, want)
		}
		if whole := p.commissionOn(p.amount); whole != p.commission {
			t.Fatalf("all of it costs %d, not %d", whole, p.commission)
		}
	})
}

// However a payment is given back, in whatever parts, its commission goes back with it: never
// more than there was, and all of it with the last part.
func TestCommissionGoesBackWithThePayment(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := genCharged(t)
		p.completed = rapid.Int64Range(1, p.amount).Draw(t, "completed")
		p.commission = p.commissionOn(p.completed)
		for p.left() > 0 {
			part := rapid.OneOf(rapid.Int64Range(1, p.left()), rapid.Just(p.left())).Draw(t, "part")
			last := part == p.left()
			back := p.commissionBack(part)
			p.givenBack += part
			p.commissionGivenBack += back
			if back < 0 || p.commissionGivenBack > p.commission || (last && p.commissionGivenBack != p.commission) {
				t.Fatalf("%d goes back with %d: %+v", back, part, p)
			}
			if share := new(big.Int).Mul(big.NewInt(p.commission), big.NewInt(part)); !last && back != share.Div(share, big.NewInt(p.completed)).Int64() {
				t.Fatalf("%d goes back with %d: %+v", back, part, p)
			}
		}
	})
}
