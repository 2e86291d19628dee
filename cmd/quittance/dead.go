package main

import (
	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/quittance/quittance/store"
)

// dead shows what was given up: nothing is kept where nobody can look at it.
func (o *operator) dead() *cobra.Command {
	dead := &cobra.Command{Use: "dead", Short: "Look at dead letters"}
	var page store.Page[int64]
	list := &cobra.Command{
		Use:   "list",
		Short: "List the messages that were given up, newest first",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.withStore(cmd.Context(), func(s *store.Store) error {
				letters, err := s.DeadLetters(cmd.Context(), page)
				if err != nil {
					return err
				}
				cmd.Println(deadTable(letters))
				return nil
			})
		},
	}
	pageFlags(list, &page)
	dead.AddCommand(list)
	return dead
}

func deadTable(letters []store.DeadLetterRecord) string {
	t := plainTable("id", "died at", "queue", "type", "message", "seq", "reason", "attempts", "error")
	for _, d := range letters {
		t.AppendRow(table.Row{d.ID, d.DiedAt.Format(shownTime), d.Queue, d.Type, d.MessageID, d.Seq, d.Reason, len(d.Attempts), d.Error})
	}
	t.AppendFooter(table.Row{"", "", "", "", "", "", "", "", len(letters)})
	return t.Render()
}
