package store_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/storetest"
)

// Whatever address a shop gave, its money is settled, and what cannot be sent there says so.
func TestAnAddressThatIsOddHoldsUpNoMoney(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	shop := db.Shop()
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // for a text that cannot be compressed
	letters := func(n int, first, many rune) string {
		var b strings.Builder
		for range n {
			b.WriteRune(first + random.Int32N(many))
		}
		return b.String()
	}
	for name, address := range map[string]string{
		"none that can be read":       "http://a b",
		"no host":                     "http:///paid",
		"bytes that are no text":      "http://%ff%fe.example/paid",
		"an endless port":             "http://shop.example:" + letters(1900, '0', 10) + "/paid",
		"an endless name":             "http://" + letters(1900, 'a', 26) + "/paid",
		"an endless name in Chinese":  "http://" + letters(1900, '一', 20000) + "/paid",
		"a name longer in lower case": "http://" + letters(1900, 'Ⱥ', 5) + "/paid",
		"an endless path":             "http://shop.example/" + letters(1900, '一', 20000),
	} {
		t.Run(name, func(t *testing.T) {
			invoice := db.ShopInvoice(shop, func(n *store.NewShopInvoice) { n.CallbackURL = address })
			p, ref := db.CardPayment(invoice)
			if _, err := db.FinishCall(t.Context(), storetest.Result(db.Call(ref), store.Approved)); err != nil {
				t.Errorf("its result cannot be stored: %.300v", err)
			}
			if got := db.Payment(p.ID); got.Status != store.StatusFinished {
				t.Errorf("the payment is %s, want it finished", got.Status)
			}
			if n := db.Count("SELECT count(*) FROM callbacks c JOIN events e ON e.id = c.event_id WHERE e.resource = $1 AND c.url = $2", p.ID, address); n != 1 {
				t.Errorf("%d callbacks, want 1", n)
			}
		})
	}
	db.CheckInvariants()
}
