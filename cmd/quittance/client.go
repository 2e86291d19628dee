package main

import (
	"context"
	"errors"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/quittance/quittance/store"
)

// client makes and changes the programs that may call the recharge API.
func (o *operator) client() *cobra.Command {
	client := &cobra.Command{Use: "client", Short: "Make, list and change the programs that may call the recharge API"}
	client.AddCommand(o.addClient(), o.listClients(), o.renewClient(),
		o.switchClient("disable", "Disable a client and revoke all its tokens, within two seconds", true),
		o.switchClient("enable", "Enable a client again and lift its locks; its old tokens stay revoked", false))
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
	var format outputFormat
	cmd := &cobra.Command{
		Use:   "add --id ID",
		Short: "Make a client and show its secret, once",
		Long:  "Make a client and show its secret, once: only a hash of it is kept.\n\nRights are those of the client's own tokens. Where a user logs in by way of it, the user's rights count.",
		Example: "  quittance client add --id backoffice --scope credit --right manage_payments\n" +
			"  quittance client add --id terminal --scope credit -o json",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
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
	cmd.Flags().StringVar(&n.ClientID, "id", "", "the client's id, as it will send it")
	cmd.Flags().StringSliceVar(&n.Scopes, "scope", nil, "a scope that it may ask for: credit; may be repeated")
	cmd.Flags().StringSliceVar(&n.Rights, "right", nil, "a right: manage_payments")
	_ = cmd.MarkFlagRequired("id") // the flag is defined above
	format.flag(cmd)
	return cmd
}

func (o *operator) renewClient() *cobra.Command {
	var format outputFormat
	cmd := &cobra.Command{
		Use:     "secret ID",
		Short:   "Give a client a new secret, shown once, and revoke all its tokens",
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
	return &cobra.Command{
		Use:     name + " ID",
		Short:   short,
		Example: "  quittance client " + name + " backoffice",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.withStore(cmd.Context(), func(s *store.Store) error {
				if err := s.SetClientDisabled(cmd.Context(), args[0], disabled); err != nil {
					return err
				}
				cmd.Println(name+"d", args[0])
				return nil
			})
		},
	}
}

func (o *operator) listClients() *cobra.Command {
	var page store.Page[int64]
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the clients, newest first",
		Example: "  quittance client list",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.withStore(cmd.Context(), func(s *store.Store) error {
				clients, err := s.Clients(cmd.Context(), page)
				if err != nil {
					return err
				}
				cmd.Println(clientTable(clients))
				return nil
			})
		},
	}
	pageFlags(cmd, &page)
	return cmd
}

func clientTable(clients []store.Client) string {
	t := plainTable("id", "client_id", "scopes", "rights", "disabled", "made at")
	for _, c := range clients {
		t.AppendRow(table.Row{c.ID, c.ClientID, strings.Join(c.Scopes, " "), strings.Join(c.Rights, " "), c.Disabled, c.CreatedAt.UTC().Format(shownTime)})
	}
	return t.Render()
}
