package main

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/quittance/quittance/store"
)

// auditLog shows who did what, and when.
func (o *operator) auditLog() *cobra.Command {
	var f store.ActFilter
	var since, until string
	var format outputFormat
	cmd := &cobra.Command{
		Use:   "log",
		Short: "List what operators changed, newest first: who, when, what",
		Long: `List what operators changed, newest first. Whoever operates is named by --as or
QUITTANCE_OPERATOR, and otherwise by the system: user@host. What is written was committed with the
change itself, and is kept for good.`,
		Example: `  quittance audit log --since 24h
  quittance audit log --actor olga --action dead
  quittance audit log --action client.disable --subject backoffice -o json`,
		Args:    cobra.NoArgs,
		PreRunE: nothingEmpty,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := errors.Join(timeFlag("--since", since, &f.Since), timeFlag("--until", until, &f.Until)); err != nil {
				return misused(err)
			}
			return o.withStore(cmd.Context(), func(s *store.Store) error {
				acts, err := s.AuditLog(cmd.Context(), f)
				if err != nil {
					return err
				}
				return format.show(cmd, actTable(acts), actsInJSON(acts))
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.Actor, "actor", "", "only what this operator did")
	flags.StringVar(&f.Action, "action", "", "only this, as client.disable; or all of a kind, as client")
	flags.StringVar(&f.Subject, "subject", "", "only what was done to this: the id or the name of what was changed")
	flags.StringVar(&since, "since", "", "only what was done then or later: a time, as 2026-11-21T20:00:00Z, or how long ago, as 24h")
	flags.StringVar(&until, "until", "", "only what was done before then: a time, or how long ago")
	pageFlags(cmd, &f.Page)
	format.flag(cmd)
	return cmd
}

func actTable(acts []store.ActRecord) string {
	t := plainTable("id", "at", "actor", "action", "subject", "details")
	for _, a := range acts {
		t.AppendRow(table.Row{a.ID, a.At.UTC().Format(shownTime), printable(a.Actor), a.Action, printable(a.Subject), printable(string(a.Details))})
	}
	return t.Render()
}

// shownAct is what an operator did in JSON.
type shownAct struct {
	ID      int64           `json:"id"`
	At      time.Time       `json:"at"`
	Actor   string          `json:"actor"`
	Action  string          `json:"action"`
	Subject string          `json:"subject"`
	Details json.RawMessage `json:"details"`
}

func actsInJSON(acts []store.ActRecord) []shownAct {
	shown := make([]shownAct, len(acts))
	for i, a := range acts {
		shown[i] = shownAct{ID: a.ID, At: a.At.UTC(), Actor: a.Actor, Action: a.Action, Subject: a.Subject, Details: a.Details}
	}
	return shown
}
