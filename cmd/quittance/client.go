package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/quittance/quittance/store"
)

// client makes and changes the programs that call for a business: back offices, terminals
// and shops.
func (o *operator) client() *cobra.Command {
	client := &cobra.Command{Use: "client", Short: "Make, list and change the programs that may call: back offices, terminals, shops"}
	client.AddCommand(o.addClient(), o.listClients(), o.renewClient(),
		o.switchClient("disable", "Disable a client and revoke all its tokens, within two seconds, and its sessions", true),
		o.switchClient("enable", "Enable a client again and lift its locks; its old tokens and sessions stay revoked", false))
	return client
}

// withSecrets opens the store for a command that keeps secrets. With another key than that
// of api and worker they would be stored, and never be right.
func (o *operator) withSecrets(ctx context.Context, f func(*store.Store) error) error {
	cfg, err := o.config()
	if err != nil {
		return err
	}
	if cfg.SecretKey == (store.Secret{}) {
		return errors.New("QUITTANCE_SECRET_KEY is not set: it must be the one that api and worker have")
	}
	return o.withStore(ctx, f)
}

// shownOnce is a secret that was just made.
type shownOnce struct {
	ClientID string `json:"client_id"`
	Secret   string `json:"client_secret"`
}

func (s shownOnce) text() string {
	return "client_id:     " + s.ClientID + "\nclient_secret: " + s.Secret + "\nThe secret is shown this once."
}

func (o *operator) addClient() *cobra.Command {
	var n store.NewClient
	var shop shopFlags
	var format outputFormat
	cmd := &cobra.Command{
		Use:   "add --id ID",
		Short: "Make a client and show its secret, once",
		Long: `Make a client and show its secret, once.

It may call the recharge API as far as its scopes and rights go. Rights are those of its own
tokens: where a user logs in by way of it, the user's rights count. Only a hash of its secret
is kept.

With --shop it may call the invoicer API, and is paid by card. Its id is then an integer, the
clientId of its requests, and its secret is what it signs them with, so that an encrypted copy
of it is kept. Whoever pays it pays --percents of the amount and --fixed on top.

With the scope callbacks it may register where callbacks go, and look at their log.`,
		Example: `  quittance client add --id backoffice --scope credit --right manage_payments
  quittance client add --id terminal --scope credit -o json
  quittance client add --id 2 --shop "Tea House" --percents 2.5 --fixed 100 --scope callbacks
  quittance client add --id 3 --shop "Book Shop" --allow-unsigned --hold-for 72h`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			for _, scope := range n.Scopes {
				if !slices.Contains(theScopes, scope) {
					return misused(fmt.Errorf("--scope %q: there are %s", scope, strings.Join(theScopes, " and ")))
				}
			}
			if n.Shop, err = shop.terms(cmd.Flags().Changed); err != nil {
				return misused(err)
			}
			return o.withSecrets(cmd.Context(), func(s *store.Store) error {
				secret, err := s.AddClient(cmd.Context(), n)
				if err != nil {
					return err
				}
				made := shownOnce{ClientID: n.ClientID, Secret: secret}
				return format.show(cmd, made.text(), made)
			})
		},
	}
	cmd.Flags().StringVar(&n.ClientID, "id", "", "the client's id, as it will send it; a shop's is an integer")
	cmd.Flags().StringSliceVar(&n.Scopes, "scope", nil, "a scope that it may ask for: credit, callbacks; may be repeated")
	cmd.Flags().StringSliceVar(&n.Rights, "right", nil, "a right: manage_payments")
	_ = cmd.MarkFlagRequired("id") // the flag is defined above
	shop.flags(cmd)
	format.flag(cmd)
	return cmd
}

// theScopes are what a client's tokens may be good for.
var theScopes = []string{store.ScopeCredit, store.ScopeCallbacks}

func (o *operator) renewClient() *cobra.Command {
	var format outputFormat
	cmd := &cobra.Command{
		Use:     "secret ID",
		Short:   "Give a client a new secret, shown once, and revoke all its tokens and sessions",
		Example: "  quittance client secret backoffice",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.withSecrets(cmd.Context(), func(s *store.Store) error {
				secret, err := s.RenewClientSecret(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				made := shownOnce{ClientID: args[0], Secret: secret}
				return format.show(cmd, made.text(), made)
			})
		},
	}
	format.flag(cmd)
	return cmd
}

func (o *operator) switchClient(name, short string, disabled bool) *cobra.Command {
	var format outputFormat
	cmd := &cobra.Command{
		Use:     name + " ID",
		Short:   short,
		Example: "  quittance client " + name + " backoffice",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.withStore(cmd.Context(), func(s *store.Store) error {
				if err := s.SetClientDisabled(cmd.Context(), args[0], disabled); err != nil {
					return err
				}
				return format.show(cmd, name+"d "+args[0], struct {
					ClientID string `json:"client_id"`
					Disabled bool   `json:"disabled"`
				}{args[0], disabled})
			})
		},
	}
	format.flag(cmd)
	return cmd
}

func (o *operator) listClients() *cobra.Command {
	var page store.Page[int64]
	var format outputFormat
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the clients, newest first, and the terms of those that are shops",
		Example: "  quittance client list\n  quittance client list -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.withStore(cmd.Context(), func(s *store.Store) error {
				clients, err := s.Clients(cmd.Context(), page)
				if err != nil {
					return err
				}
				return format.show(cmd, clientTable(clients), clientsInJSON(clients))
			})
		},
	}
	pageFlags(cmd, &page)
	format.flag(cmd)
	return cmd
}

func clientTable(clients []store.Client) string {
	t := plainTable("id", "client_id", "scopes", "rights", "shop", "on top of a payment", "holds for", "requests", "disabled", "made at")
	for _, c := range clients {
		shop := []any{"", "", "", ""}
		if c.Shop != nil {
			shop = termsShown(*c.Shop)
		}
		row := append(table.Row{c.ID, c.ClientID, strings.Join(c.Scopes, " "), strings.Join(c.Rights, " ")}, shop...)
		t.AppendRow(append(row, c.Disabled, c.CreatedAt.UTC().Format(shownTime)))
	}
	return t.Render()
}

// shownClient is a client in JSON.
type shownClient struct {
	ID       int64      `json:"id"`
	ClientID string     `json:"client_id"`
	Scopes   []string   `json:"scopes"`
	Rights   []string   `json:"rights"`
	Shop     *shownShop `json:"shop,omitempty"`
	Disabled bool       `json:"disabled"`
	MadeAt   time.Time  `json:"made_at"`
}

func clientsInJSON(clients []store.Client) []shownClient {
	shown := make([]shownClient, 0, len(clients))
	for _, c := range clients {
		shown = append(shown, shownClient{
			ID: c.ID, ClientID: c.ClientID, Scopes: c.Scopes, Rights: c.Rights, Shop: shopInJSON(c.Shop), Disabled: c.Disabled, MadeAt: c.CreatedAt.UTC(),
		})
	}
	return shown
}
