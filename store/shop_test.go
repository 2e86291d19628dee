package store_test

import (
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/storetest"
)

func TestAShopIsMadeWithAllThatItNeeds(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	terms := store.ShopTerms{Name: "Tea House", Tariff: store.Tariff{Millipercents: 2500, Fixed: 100}, AllowUnsigned: true, HoldFor: 36 * time.Hour}
	secret, err := db.AddClient(t.Context(), store.NewClient{ClientID: "2", Shop: &terms})
	if err != nil {
		t.Fatal(err)
	}
	shop, err := db.Store.Shop(t.Context(), 2)
	want := store.Shop{
		Client: shop.Client, Number: 2, Name: "Tea House", SigningSecret: secret, Tariff: terms.Tariff, HoldFor: terms.HoldFor,
	}
	if diff := cmp.Diff(want, shop); err != nil || diff != "" {
		t.Errorf("the shop: %v\n%s", err, diff)
	}
	clients, err := db.Clients(t.Context(), store.Page[int64]{Limit: 10})
	if err != nil || len(clients) != 1 || cmp.Diff(clients[0].Shop, &terms) != "" {
		t.Errorf("the list: %+v, %v", clients, err)
	}
	for _, account := range []struct {
		kind        string
		owner       int64
		mayBeMinus  bool
		description string
	}{
		{"merchant", shop.Client, false, "what it earned"},
		{"acquirer_clearing", shop.Client, true, "what is paid from card to card"},
		{"acquirer_clearing", 0, true, "what the acquirer owes"},
		{"commission", 0, false, "our revenue"},
	} {
		n := db.Count("SELECT count(*) FROM ledger_accounts WHERE kind = $1 AND owner = $2 AND currency = 980 AND may_go_negative = $3",
			account.kind, account.owner, account.mayBeMinus)
		if n != 1 {
			t.Errorf("%s: %d ledger accounts %s/%d", account.description, n, account.kind, account.owner)
		}
	}
	// A second one shares those of the house.
	if _, err := db.AddClient(t.Context(), store.NewClient{ClientID: "3", Shop: &store.ShopTerms{Name: "Coffee House"}}); err != nil {
		t.Fatal(err)
	}
	if n := db.Count("SELECT count(*) FROM ledger_accounts"); n != 6 {
		t.Errorf("%d ledger accounts, want 6", n)
	}
	second, err := db.Store.Shop(t.Context(), 3)
	if err != nil || !second.SignatureRequired || second.HoldFor != 7*24*time.Hour || second.Tariff != (store.Tariff{}) {
		t.Errorf("what nobody said: %+v, %v", second, err)
	}
}

func TestWhatIsNoShop(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	sane := store.ShopTerms{Name: "Tea House"}
	changed := func(change func(*store.ShopTerms)) *store.ShopTerms {
		terms := sane
		change(&terms)
		return &terms
	}
	for _, story := range []struct {
		name  string
		id    string
		terms *store.ShopTerms
	}{
		{"an id that is a word", "tea", &sane},
		{"an id with a zero before it", "07", &sane},
		{"an id with a sign", "+7", &sane},
		{"zero", "0", &sane},
		{"an id of 19 digits", "1234567890123456789", &sane},
		{"no name", "2", changed(func(s *store.ShopTerms) { s.Name = "" })},
		{"more than all of it again", "2", changed(func(s *store.ShopTerms) { s.Tariff.Millipercents = 100_001 })},
		{"a tariff that pays", "2", changed(func(s *store.ShopTerms) { s.Tariff.Fixed = -1 })},
		{"money held for less than no time", "2", changed(func(s *store.ShopTerms) { s.HoldFor = -time.Second })},
	} {
		if _, err := db.AddClient(t.Context(), store.NewClient{ClientID: story.id, Shop: story.terms}); err == nil {
			t.Errorf("%s: is a shop", story.name)
		}
	}
	if n := db.Count("SELECT count(*) FROM clients") + db.Count("SELECT count(*) FROM ledger_accounts"); n != 0 {
		t.Errorf("%d rows are left of what was refused", n)
	}
	if _, err := db.AddClient(t.Context(), store.NewClient{ClientID: "7"}); err != nil {
		t.Fatal(err)
	}
	for _, number := range []int64{7, 8} {
		if _, err := db.Store.Shop(t.Context(), number); !errors.Is(err, store.ErrClientNotFound) {
			t.Errorf("client %d, which is no shop: %v", number, err)
		}
	}
}

func TestAShopsSession(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	shop := db.Shop()
	number := strconv.FormatInt(shop.Number, 10)
	stands := func(when string, session store.ClientSession, want bool) {
		t.Helper()
		got, err := db.ShopOfSession(t.Context(), session)
		if want && (err != nil || got.Client != shop.Client) {
			t.Errorf("%s: %+v, %v", when, got, err)
		}
		if !want && !errors.Is(err, store.ErrClientSessionNotFound) {
			t.Errorf("%s: %+v, %v; want none", when, got, err)
		}
	}
	first := db.Session(shop)
	stands("opened", first, true)
	stands("of nobody", store.ClientSession(uuid.NewString()), false)
	if n := db.Count("SELECT count(*) FROM client_sessions WHERE expires_at BETWEEN now() + interval '47 hours' AND now() + interval '48 hours'"); n != 1 {
		t.Error("it is not good for 48 hours")
	}
	db.Exec("UPDATE client_sessions SET expires_at = now()")
	stands("after its time", first, false)

	second := db.Session(shop)
	secret, err := db.RenewClientSecret(t.Context(), number)
	if err != nil {
		t.Fatal(err)
	}
	stands("of before the new secret", second, false)
	if renewed, err := db.Store.Shop(t.Context(), shop.Number); err != nil || renewed.SigningSecret != secret {
		t.Errorf("the new secret is not what it signs with: %v", err)
	}

	third := db.Session(shop)
	stands("of after the new secret", third, true)
	if err := db.SetClientDisabled(t.Context(), number, true); err != nil {
		t.Fatal(err)
	}
	stands("of a disabled shop", third, false)
	if err := db.OpenClientSession(t.Context(), shop.Client, "x", store.Once{}); !errors.Is(err, store.ErrClientNotFound) {
		t.Errorf("a disabled shop opens a session: %v", err)
	}
	if _, err := db.Store.Shop(t.Context(), shop.Number); !errors.Is(err, store.ErrClientNotFound) {
		t.Errorf("a disabled shop: %v", err)
	}
	if err := db.SetClientDisabled(t.Context(), number, false); err != nil {
		t.Fatal(err)
	}
	stands("of before it was disabled", third, false)
}

func TestAClientThatIsNoShopGetsNoSecretToSignWith(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	if _, err := db.AddClient(t.Context(), store.NewClient{ClientID: "7"}); err != nil {
		t.Fatal(err)
	}
	if _, err := db.RenewClientSecret(t.Context(), "7"); err != nil {
		t.Fatal(err)
	}
	if n := db.Count("SELECT count(*) FROM clients WHERE signing_secret IS NOT NULL"); n != 0 {
		t.Error("it has one")
	}
}
