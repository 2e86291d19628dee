package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/quittance/quittance/store"
)

// recharge is for money that came in too late for the recharge it was meant for.
func (o *operator) recharge() *cobra.Command {
	recharge := &cobra.Command{Use: "recharge", Short: "Book money that came in too late, and look at what waits in suspense"}
	recharge.AddCommand(o.bookLate(), o.listSuspense())
	return recharge
}

func (o *operator) bookLate() *cobra.Command {
	var provider, id, note, author string
	var format outputFormat
	cmd := &cobra.Command{
		Use:   "late",
		Short: "Book money that came in for a recharge that was rolled back or had expired",
		Long: `Book money that a provider has brought in for a recharge that was rolled back or had
expired. The recharge worker moves the recharge's amount to suspense, where it stays, with
the note, until somebody finds out whose it is. A recharge is paid late once.`,
		Example: `  quittance recharge late --provider external --id 01939d2c-6f1e-7a40-8c11-5b0c9e1d3a74 \
    --note "bank statement of 21 November, line 7"`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			recharge, ok := store.ParseRechargeID(id)
			switch {
			case !ok:
				return misused(fmt.Errorf("--id %q: a recharge's id is a UUID", id))
			case strings.TrimSpace(note) == "":
				return misused(errors.New("--note: say where the money came from"))
			}
			cfg, err := o.config()
			if err != nil {
				return err
			}
			return o.withStore(cmd.Context(), func(s *store.Store) error {
				operation, err := s.AcceptLateRecharge(cmd.Context(), provider, recharge, note, cmp.Or(author, o.actor(cfg)))
				if errors.Is(err, store.ErrRechargeState) {
					return fmt.Errorf("recharge %s was neither rolled back nor has it expired, or its late money is booked already: %w", recharge, err)
				}
				if err != nil {
					return fmt.Errorf("recharge %s of %s: %w", recharge, provider, err)
				}
				return format.show(cmd, "accepted: operation "+operation.String()+" moves the money to suspense", struct {
					Operation store.OperationID `json:"operationId"`
				}{operation})
			})
		},
	}
	cmd.Flags().StringVar(&provider, "provider", "", "reference of the provider that brought the money in")
	cmd.Flags().StringVar(&id, "id", "", "the recharge's")
	cmd.Flags().StringVar(&note, "note", "", "what the next operator must know")
	cmd.Flags().StringVar(&author, "author", "", "who says so; default: who you are in the audit log")
	format.flag(cmd)
	for _, name := range []string{"provider", "id", "note"} {
		_ = cmd.MarkFlagRequired(name) // the flag is defined above
	}
	return cmd
}

func (o *operator) listSuspense() *cobra.Command {
	var page store.Page[int64]
	var format outputFormat
	cmd := &cobra.Command{
		Use:     "suspense",
		Short:   "List the money that lies in suspense, newest first",
		Example: "  quittance recharge suspense -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.withStore(cmd.Context(), func(s *store.Store) error {
				entries, err := s.Suspense(cmd.Context(), page)
				if err != nil {
					return err
				}
				return format.show(cmd, suspenseTable(entries), suspenseList(entries))
			})
		},
	}
	limitFlag(cmd, &page.Limit)
	cmd.Flags().Int64Var(&page.Before, "before", 0, "only those with a smaller transfer")
	format.flag(cmd)
	return cmd
}

func suspenseTable(entries []store.SuspenseEntry) string {
	t := plainTable("transfer", "booked at", "kind", "amount", "provider", "account", "recharge", "author", "note")
	for _, e := range entries {
		t.AppendRow(table.Row{
			e.Transfer, e.CreatedAt.UTC().Format(shownTime), e.Kind, e.Amount.Decimal() + " " + e.Amount.Currency.Alpha(),
			e.Provider, e.Account, e.Recharge, e.Author, e.Note,
		})
	}
	return t.Render()
}

// listedSuspense is money in suspense as programs read it.
type listedSuspense struct {
	Transfer  int64       `json:"transfer"`
	BookedAt  time.Time   `json:"bookedAt"`
	Kind      string      `json:"kind"`
	Amount    json.Number `json:"amount"`
	Currency  string      `json:"currency"`
	Provider  string      `json:"provider"`
	AccountID int64       `json:"userId"`
	Recharge  string      `json:"recharge"`
	Author    string      `json:"author"`
	Note      string      `json:"note"`
}

func suspenseList(entries []store.SuspenseEntry) []listedSuspense {
	listed := make([]listedSuspense, len(entries))
	for i, e := range entries {
		listed[i] = listedSuspense{
			Transfer: e.Transfer, BookedAt: e.CreatedAt.UTC(), Kind: string(e.Kind), Amount: number(e.Amount),
			Currency: e.Amount.Currency.Alpha(), Provider: e.Provider, AccountID: e.Account, Recharge: e.Recharge.String(),
			Author: e.Author, Note: e.Note,
		}
	}
	return listed
}
