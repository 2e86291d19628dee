package main

import (
	"slices"

	"github.com/quittance/quittance/api"
	"github.com/quittance/quittance/api/callback"
	"github.com/quittance/quittance/api/docs"
	"github.com/quittance/quittance/api/invoicer"
	"github.com/quittance/quittance/api/mobile"
	"github.com/quittance/quittance/api/operation"
	"github.com/quittance/quittance/api/recharge"
	"github.com/quittance/quittance/store"
)

// publicAPIs builds all that is served to others. What is below another's prefix comes first.
func publicAPIs(cfg config, books *store.Store, waiter *api.Waiter, admission *api.Admission, cards tokeniser) ([]api.API, error) {
	page, err := payPage(cfg, books, waiter, admission, cards)
	if err != nil {
		return nil, err
	}
	return slices.Concat(page, docs.New(), []api.API{
		mobile.New(mobile.Config{
			Books: books, Waiter: waiter, Admission: admission, AddLimit: api.NewRateLimit(cfg.AccountAddRate), OpenList: cfg.MobileOpenList,
		}),
		recharge.New(recharge.Config{Books: books, Waiter: waiter, Admission: admission, Callers: api.Bearers{Tokens: books, Scope: store.ScopeCredit}}),
		recharge.NewAuth(recharge.AuthConfig{Tokens: books, Limit: api.NewRateLimit(cfg.TokenRate)}),
		invoicer.New(invoicer.Config{
			Books: books, Tokeniser: cards, Waiter: waiter, SessionLimit: api.NewRateLimit(cfg.SessionRate), PublicURL: string(cfg.PublicURL),
		}), // after the API of tokens, whose addresses are below its own
		callback.New(callback.Config{
			Books: books, Waiter: waiter, Callers: api.Bearers{Tokens: books, Scope: store.ScopeCallbacks}, AllowHTTP: cfg.CallbackHTTP,
		}),
		operation.New(books, waiter),
	}), nil
}
