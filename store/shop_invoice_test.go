package store_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/money"
	"github.com/quittance/quittance/store/storetest"
)

func TestAnInvoiceIsShownAsItWasIssued(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	shop := db.Shop()
	card := db.Card(shop, "4111111111")
	later := time.Date(2099, 7, 28, 12, 0, 0, 0, time.UTC)
	first, second := int64(1), int64(2)
	everything := db.ShopInvoice(shop, func(n *store.NewShopInvoice) {
		n.ExternalID, n.SystemType, n.Type, n.Description = "e", store.BILLER, store.Hold, "d"
		n.Amount, n.Reusable = 0, true
		n.Services = []store.Service{
			{ServiceID: &first, Destination: "дестинація", DestinationName: "n", Account: "UA46", MFO: "m", OKPO: "o", BankName: "b", Description: "s", Amount: 1025},
			{ServiceID: &second, Amount: 25},
		}
		n.PayExpiresAt, n.RedirectURL, n.CallbackURL, n.Email = later, "https://r", "https://c", "a@b.example"
		n.ExtraInfo = json.RawMessage(`{"origin": "invoicer"}`)
	})
	p2p := db.ShopInvoice(shop, func(n *store.NewShopInvoice) { n.SystemType, n.CardTo = store.P2P, card.ID })
	open := db.ShopInvoice(shop, func(n *store.NewShopInvoice) { n.Amount = 0 })
	subscription := db.ShopInvoice(shop, func(n *store.NewShopInvoice) { n.Type, n.Interval, n.EndsAt = store.Subscribe, 30, later })

	common := func(n store.NewShopInvoice, number int64) store.ShopInvoice {
		return store.ShopInvoice{
			ID: n.ID, Number: number, ExternalID: n.ExternalID, Client: shop.Client, ClientNumber: shop.Number, ClientName: shop.Name,
			Tariff: shop.Tariff, SystemType: n.SystemType, Type: n.Type, Description: n.Description, Amount: n.Amount, Active: true,
			CardTo: n.CardTo, Services: []store.Service{}, ExtraInfo: json.RawMessage("{}"),
		}
	}
	full := common(everything, 10001)
	full.Amount, full.Reusable, full.PayExpiresAt, full.RedirectURL, full.CallbackURL = 1050, true, &later, "https://r", "https://c"
	full.Email, full.ExtraInfo, full.Services = "a@b.example", everything.ExtraInfo, everything.Services
	full.Services[0].Commission, full.Services[1].Commission = 121, 101 // 20.5 + 100 and 0.5 + 100, half up
	goesOn := common(subscription, 10004)
	goesOn.Subscription = &store.Subscription{Interval: 30, ExpiresAt: later, Active: true}

	var ids []store.InvoiceNumber
	for _, want := range []store.ShopInvoice{full, common(p2p, 10002), common(open, 10003), goesOn} {
		got, err := db.Store.ShopInvoice(t.Context(), want.ID)
		if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(store.ShopInvoice{}, "CreatedAt", "Now")); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", want.ID, err, diff)
		}
		if got.CreatedAt.IsZero() || got.Now.Before(got.CreatedAt) {
			t.Errorf("%s: issued at %s, read at %s", want.ID, got.CreatedAt, got.Now)
		}
		ids = append(ids, want.ID)
	}
	if got := full.Commission(1050); got != 222 {
		t.Errorf("the commission of services is %d, want their sum", got)
	}
	if got := goesOn.Commission(50000); got != 1100 {
		t.Errorf("the commission of 50000 is %d, want 1100", got)
	}
	list, err := db.ShopInvoices(t.Context(), shop.Client, ids, nil)
	if err != nil || len(list) != 4 || list[0].ID != subscription.ID || list[3].ID != everything.ID {
		t.Errorf("the list: %v, %d invoices, newest first", err, len(list))
	}
}

func TestAnInvoiceIsNotIssued(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	shop, other := db.Shop(), db.Shop()
	theirs := db.Card(other, "4111111111")
	if err := db.SetClockAhead(t.Context(), 48*time.Hour); err != nil {
		t.Fatal(err)
	}
	for _, story := range []struct {
		name   string
		change func(*store.NewShopInvoice)
		want   error
	}{
		{"to another shop's card", func(n *store.NewShopInvoice) { n.SystemType, n.CardTo = store.P2P, theirs.ID }, store.ErrCardNotFound},
		{"to a card that is none", func(n *store.NewShopInvoice) { n.SystemType, n.CardTo = store.P2P, store.NewCardID() }, store.ErrCardNotFound},
		{"for a subscription that has ended, by the clock that decides", func(n *store.NewShopInvoice) {
			n.Type, n.Interval, n.EndsAt = store.Subscribe, 30, time.Now().Add(time.Hour)
		}, store.ErrInThePast},
		{"of too much", func(n *store.NewShopInvoice) { n.Amount = store.MaxCardAmount + 1 }, store.ErrAmountTooLarge},
		{"of services that are too much", func(n *store.NewShopInvoice) {
			n.Amount, n.Services = 0, []store.Service{{Amount: store.MaxCardAmount}, {Amount: 1}}
		}, store.ErrAmountTooLarge},
		{"of services of another sum", func(n *store.NewShopInvoice) { n.Services = []store.Service{{Amount: 1}} }, store.ErrServicesSum},
		{"of a service of nothing", func(n *store.NewShopInvoice) { n.Amount, n.Services = 0, []store.Service{{Amount: 0}} }, money.ErrNotPositive},
	} {
		n := store.NewShopInvoice{
			ID: store.NewShopInvoiceID(), Shop: shop, ExternalID: "e", SystemType: store.ECOM, Type: store.Pay, Description: "d", Amount: 100,
		}
		story.change(&n)
		once := store.Once{Scope: "shop", Key: story.name, Request: "r"}
		if err := db.IssueShopInvoice(t.Context(), n, once); !errors.Is(err, story.want) {
			t.Errorf("%s: %v, want %v", story.name, err, story.want)
		}
	}
	for _, table := range []string{"invoices", "subscriptions", "idempotency_keys"} {
		if n := db.Count("SELECT count(*) FROM " + table); n != 0 {
			t.Errorf("%s: %d rows of what was refused", table, n)
		}
	}
}

func TestAnInvoiceIsActiveForItsTime(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	shop := db.Shop()
	now := time.Now()
	timeless := db.ShopInvoice(shop, nil)
	limited := db.ShopInvoice(shop, func(n *store.NewShopInvoice) { n.PayExpiresAt = now.Add(time.Hour) })
	late := db.ShopInvoice(shop, func(n *store.NewShopInvoice) { n.PayExpiresAt = now.Add(-time.Hour) })
	subscription := db.ShopInvoice(shop, func(n *store.NewShopInvoice) { n.Type, n.Interval, n.EndsAt = store.Subscribe, 1, now.Add(2*time.Hour) })
	ended := db.ShopInvoice(shop, func(n *store.NewShopInvoice) {
		n.Type, n.Interval, n.EndsAt = store.Subscribe, 1, now.Add(48*time.Hour)
	})
	db.Exec("UPDATE subscriptions SET active = false WHERE invoice_id = $1", ended.ID)
	for _, story := range []struct {
		ahead time.Duration
		want  []bool // timeless, limited, late, subscription, ended
	}{
		{0, []bool{true, true, false, true, false}},
		{90 * time.Minute, []bool{true, false, false, true, false}},
		{3 * time.Hour, []bool{true, false, false, false, false}},
	} {
		if err := db.SetClockAhead(t.Context(), story.ahead); err != nil {
			t.Fatal(err)
		}
		for i, n := range []store.NewShopInvoice{timeless, limited, late, subscription, ended} {
			got, err := db.Store.ShopInvoice(t.Context(), n.ID)
			if err != nil || got.Active != story.want[i] || (got.Subscription != nil && got.Subscription.Active != story.want[i]) {
				t.Errorf("after %s, invoice %d: active %v, %v; want %v", story.ahead, i, got.Active, err, story.want[i])
			}
			if got.Active {
				continue
			}
			p := storetest.NewCardPayment(n, db.Card(shop, "4111111111"))
			if _, err := db.CreateCardPayment(t.Context(), p); !errors.Is(err, store.ErrInvoiceInactive) {
				t.Errorf("after %s, invoice %d, inactive, is paid: %v", story.ahead, i, err)
			}
		}
	}
}

func TestInvoicesAreListedForTheirShop(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	shop, other := db.Shop(), db.Shop()
	named := func(by store.Shop, external string) store.InvoiceNumber {
		return db.ShopInvoice(by, func(n *store.NewShopInvoice) { n.ExternalID = external }).ID
	}
	a, b, twin, theirs := named(shop, "a"), named(shop, "b"), named(shop, "a"), named(other, "a")
	for _, story := range []struct {
		name      string
		ids       []store.InvoiceNumber
		externals []string
		want      []store.InvoiceNumber
	}{
		{"by ids", []store.InvoiceNumber{a, b}, nil, []store.InvoiceNumber{b, a}},
		{"by an external id that two have", nil, []string{"a"}, []store.InvoiceNumber{twin, a}},
		{"by both", []store.InvoiceNumber{a, b}, []string{"a", "nothing"}, []store.InvoiceNumber{twin, b, a}},
		{"another shop's", []store.InvoiceNumber{theirs}, nil, nil},
		{"by nothing", nil, nil, nil},
	} {
		list, err := db.ShopInvoices(t.Context(), shop.Client, story.ids, story.externals)
		var got []store.InvoiceNumber
		for _, i := range list {
			got = append(got, i.ID)
		}
		if diff := cmp.Diff(story.want, got); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", story.name, err, diff)
		}
	}
}

func TestPaymentsAreListedNewestFirst(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	shop := db.Shop()
	many, one := db.ShopInvoice(shop, func(n *store.NewShopInvoice) { n.Reusable = true }), db.ShopInvoice(shop, nil)
	var want []store.PaymentID
	for range 3 {
		p, _ := db.CardPayment(many)
		want = append([]store.PaymentID{p.ID}, want...)
	}
	only, _ := db.CardPayment(one)
	list, err := db.ShopInvoices(t.Context(), shop.Client, []store.InvoiceNumber{one.ID, many.ID}, nil)
	if err != nil || len(list) != 2 {
		t.Fatalf("%d invoices, %v", len(list), err)
	}
	var got []store.PaymentID
	for _, p := range list[1].Payments {
		got = append(got, p.ID)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("of many: %s", diff)
	}
	if len(list[0].Payments) != 1 || list[0].Payments[0].ID != only.ID {
		t.Errorf("of one: %+v", list[0].Payments)
	}
	shown, err := db.Store.ShopInvoice(t.Context(), one.ID)
	if diff := cmp.Diff(list[0], shown, cmpopts.IgnoreFields(store.ShopInvoice{}, "Now")); err != nil || diff != "" {
		t.Errorf("the list and the invoice by itself differ: %v\n%s", err, diff)
	}
}

// Phones' invoices and shops' are rows of one table; neither API reaches the other's.
func TestAShopsInvoiceIsNoPhones(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	phone, other := db.Account(1000), db.Account(0)
	shops := db.ShopInvoice(db.Shop(), nil)
	payment := db.Invoice(phone, other, 300)

	if i, err := db.Store.Invoice(t.Context(), shops.ID); !errors.Is(err, store.ErrInvoiceNotFound) {
		t.Errorf("a phone is shown a shop's invoice: %+v, %v", i, err)
	}
	for _, from := range []storetest.Account{phone, other} {
		list, err := db.InvoicesIssued(t.Context(), from.Session, store.Page[store.InvoiceNumber]{Limit: 10})
		for _, i := range list {
			if i.Number == shops.ID {
				t.Error("a phone's list has a shop's invoice")
			}
		}
		if err != nil {
			t.Error(err)
		}
		pay := store.Payment{Session: from.Session, Number: shops.ID, Amount: money.Amount{Minor: 50000, Currency: store.Hryvnia}, Recipient: other.Number}
		if _, err := db.AcceptPayment(t.Context(), pay); !errors.Is(err, store.ErrInvoiceNotFound) {
			t.Errorf("a phone pays a shop's invoice: %v", err)
		}
	}
	if _, err := db.Store.ShopInvoice(t.Context(), payment.Number); !errors.Is(err, store.ErrInvoiceNotFound) {
		t.Errorf("a shop is shown a phone's invoice: %v", err)
	}
	n := storetest.NewCardPayment(shops, db.Card(shops.Shop, "4111111111"))
	n.Client, n.Invoice = 0, payment.Number
	if _, err := db.CreateCardPayment(t.Context(), n); !errors.Is(err, store.ErrInvoiceNotFound) {
		t.Errorf("a phone's invoice is paid by card: %v", err)
	}
	// A hand in psql meets the schema.
	if _, err := db.Pool().Exec(t.Context(), "UPDATE invoices SET state = 3 WHERE number = $1", shops.ID); err == nil {
		t.Error("a shop's invoice is being paid from a wallet")
	}
	db.CheckInvariants()
}
