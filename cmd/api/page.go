package main

import (
	"crypto/hkdf"
	"crypto/sha256"

	"github.com/quittance/quittance/api"
	"github.com/quittance/quittance/api/paypage"
	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/workers/receipt/document"
)

// payPage builds the page where payers pay. Its forms are signed with a key of their own, made
// of the one secret: every api of an installation knows the others' forms.
func payPage(cfg config, books *store.Store, waiter *api.Waiter, admission *api.Admission, cards tokeniser) ([]api.API, error) {
	key, err := hkdf.Key(sha256.New, cfg.SecretKey[:], nil, "quittance page", 32)
	if err != nil {
		return nil, err
	}
	return paypage.New(paypage.Config{
		Books: books, Waiter: waiter, Admission: admission, Tokeniser: cards, Limit: api.NewRateLimit(cfg.PageRate),
		PublicURL: string(cfg.PublicURL), Key: [32]byte(key), PDF: document.PDF, HTML: document.HTML,
	}), nil
}
