package store_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/storetest"
)

func TestTheDemoIsLoadedOnce(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	load := func() {
		t.Helper()
		err := db.LoadDemo(t.Context(), func(number, expiry string) string { return "token of " + number + " " + expiry })
		if err != nil {
			t.Fatal(err)
		}
	}
	rows := func() (n []int) {
		for _, table := range []string{"accounts", "invoices", "payments", "cards", "clients", "client_sessions", "transfers", "operations", "acquirer_intents"} {
			n = append(n, db.Count("SELECT count(*) FROM "+table))
		}
		return n
	}
	load()
	first := rows()
	load()
	if diff := cmp.Diff(first, rows()); diff != "" {
		t.Errorf("rows after loading twice (-once +twice):\n%s", diff)
	}

	shop, err := db.ShopOfSession(t.Context(), "00684a7f-3d5c-43f4-b4d1-ea994226be9c")
	if err != nil {
		t.Fatal(err)
	}
	if shop.Number != 1 || shop.SignatureRequired || shop.SigningSecret != "demo-secret" {
		t.Errorf("the demo's session is of %+v", shop)
	}
	id, _ := store.ParseInvoiceNumber("7757c47c-8d70-4089-ab6e-82515f8f6f07")
	invoice, err := db.Store.ShopInvoice(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if p := invoice.Payments[0]; invoice.Number != 1870 || p.Number != 2175 || p.Amount.Minor != 13500 || p.Commission != 564 || p.Status != store.StatusFinished {
		t.Errorf("the demo's invoice is %+v", invoice)
	}
	card, _ := store.ParseCardID("b8220f46-8c28-4068-9488-2e1b37359b06")
	if _, token, err := db.CardToken(t.Context(), shop.Client, card); err != nil || token != "token of 4111111111111111 2035-12" {
		t.Errorf("the demo's card has the token %q, %v", token, err)
	}
	db.CheckInvariants()
}
