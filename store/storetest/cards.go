package storetest

import (
	"strconv"
	"sync/atomic"

	"github.com/google/uuid"

	"github.com/quittance/quittance/store"
)

var shops atomic.Int64

// ShopTerms are those of the builders' shops: 2 % and 100, and requests need not be signed.
var ShopTerms = store.ShopTerms{Name: "A test's shop", Tariff: store.Tariff{Millipercents: 2000, Fixed: 100}, AllowUnsigned: true}

// Shop makes a shop that signs with "shop-secret".
func (db *DB) Shop() store.Shop {
	db.t.Helper()
	number := 100 + shops.Add(1)
	terms := ShopTerms
	n := store.NewClient{ClientID: strconv.FormatInt(number, 10), Secret: "shop-secret", Shop: &terms}
	if _, err := db.AddClient(db.t.Context(), n); err != nil {
		db.t.Fatal(err)
	}
	shop, err := db.Store.Shop(db.t.Context(), number)
	if err != nil {
		db.t.Fatal(err)
	}
	return shop
}

// Session opens a session of the shop.
func (db *DB) Session(shop store.Shop) store.ClientSession {
	db.t.Helper()
	session := store.ClientSession(uuid.NewString())
	if err := db.OpenClientSession(db.t.Context(), shop.Client, session, store.Once{}); err != nil {
		db.t.Fatal(err)
	}
	return session
}

// Card stores a card of the shop, whose token is "token of " and the mask.
func (db *DB) Card(shop store.Shop, mask string) store.Card {
	db.t.Helper()
	card := store.Card{ID: store.NewCardID(), Mask: mask, Expiry: "2099-12", Brand: "visa"}
	if err := db.AddCard(db.t.Context(), store.NewCard{Card: card, Client: shop.Client, Token: "token of " + mask}, store.Once{}); err != nil {
		db.t.Fatal(err)
	}
	return card
}

// ShopInvoice issues an invoice of 50000 (commission: 1100) to be paid once; what change
// changes is its own.
func (db *DB) ShopInvoice(shop store.Shop, change func(*store.NewShopInvoice)) store.NewShopInvoice {
	db.t.Helper()
	n := store.NewShopInvoice{
		ID: store.NewShopInvoiceID(), Shop: shop, ExternalID: "a test's", SystemType: store.ECOM, Type: store.Pay,
		Description: "a test's", Amount: 50000,
	}
	if change != nil {
		change(&n)
	}
	if err := db.IssueShopInvoice(db.t.Context(), n, store.Once{}); err != nil {
		db.t.Fatal(err)
	}
	return n
}

// NewCardPayment pays an invoice with a card of its shop, whose token is "token of " and its
// mask.
func NewCardPayment(invoice store.NewShopInvoice, card store.Card) store.NewCardPayment {
	return store.NewCardPayment{
		ID: store.NewPaymentID(), Intent: store.NewIntentID(), Invoice: invoice.ID, Client: invoice.Shop.Client,
		Card: card, Token: "token of " + card.Mask,
	}
}

// CardPayment accepts a payment of the invoice, with a card of its own, and returns it with the
// message about its authorisation.
func (db *DB) CardPayment(invoice store.NewShopInvoice) (store.NewCardPayment, store.Ref) {
	db.t.Helper()
	p := NewCardPayment(invoice, db.Card(invoice.Shop, "4111111111"))
	id, err := db.CreateCardPayment(db.t.Context(), p)
	if err != nil {
		db.t.Fatal(err)
	}
	return p, store.Ref{ID: id, Seq: 1}
}
