package main

import (
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/jedib0t/go-pretty/v6/progress"
	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/quittance/quittance/store"
)

// audit compares the books with what they are about.
func (o *operator) audit() *cobra.Command {
	var format outputFormat
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Check the books: every balance, transfer, payment and call of the acquirer against each other",
		Long: `Check the books: every balance against its transfers, every transfer against its hash and
against what it was made for, every settled payment and recharge against its transfers, every
capture and refund against the acquirer's calls, every operation's end against what it left;
and that each currency adds up to zero.

It may run while money moves. It reads in small steps, and only reads: the role may be one
that can do no more, the server a standby. What is made while it runs may be left to the
next audit.

Where something is wrong it shows the first such row of each check, with what was expected
and what was found, and exits with 3. Nothing is put right.`,
		Example: `  quittance audit
  quittance audit -o json
  DATABASE_URL=postgres://reader@standby/quittance quittance audit || page-somebody`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.withStore(cmd.Context(), func(s *store.Store) error {
				bars := newAuditBars()
				report, err := s.Audit(cmd.Context(), bars.progress)
				bars.display.close()
				if err != nil {
					return err
				}
				if err := format.show(cmd, auditText(report), auditInJSON(report)); err != nil {
					return err
				}
				if off := report.Off(); off > 0 {
					return fmt.Errorf("%w: %d rows are not what they must be", errFound, off)
				}
				return nil
			})
		},
	}
	format.flag(cmd)
	cmd.AddCommand(o.auditLog())
	return cmd
}

// auditBars show how far each check has come.
type auditBars struct {
	display *progressDisplay
	mu      sync.Mutex
	bars    map[string]*progress.Tracker
}

func newAuditBars() *auditBars {
	return &auditBars{display: newProgressDisplay(os.Stderr), bars: make(map[string]*progress.Tracker)}
}

// progress is told of each step, by two goroutines.
func (a *auditBars) progress(check string, rows, total int64, done bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	bar, begun := a.bars[check]
	if !begun {
		bar = a.display.track(check, int(total))
		a.bars[check] = bar
	}
	bar.UpdateTotal(max(rows, total)) // an estimate may be too low
	bar.SetValue(rows)
	if done {
		bar.UpdateTotal(rows)
		bar.MarkAsDone()
	}
}

func auditText(r store.AuditReport) string {
	t := plainTable("check", "rows", "wrong", "seconds", "what holds")
	t.SetColumnConfigs([]table.ColumnConfig{{Number: 5, WidthMax: 80}})
	var found []string
	for _, c := range r.Checks {
		t.AppendRow(table.Row{c.Name, c.Rows, c.Off, fmt.Sprintf("%.1f", c.Took.Seconds()), c.Promise})
		if c.Off > 0 {
			found = append(found, fmt.Sprintf("%s: %d of %d are wrong, the first is %s\n  expected: %s\n  found:    %s",
				c.Name, c.Off, c.Rows, c.First.Row, c.First.Expected, c.First.Found))
		}
	}
	if len(found) == 0 {
		found = []string{fmt.Sprintf("Nothing is wrong. It took %.1f s.", r.Took.Seconds())}
	}
	return t.Render() + "\n" + strings.Join(found, "\n")
}

// shownAudit is an audit in JSON.
type shownAudit struct {
	Wrong   int64        `json:"wrong"`
	Seconds float64      `json:"seconds"`
	Checks  []shownCheck `json:"checks"`
}

type shownCheck struct {
	Check   string        `json:"check"`
	Holds   string        `json:"holds"`
	Rows    int64         `json:"rows"`
	Wrong   int64         `json:"wrong"`
	Seconds float64       `json:"seconds"`
	First   *shownFinding `json:"first,omitempty"`
}

type shownFinding struct {
	Row      string `json:"row"`
	Expected string `json:"expected"`
	Found    string `json:"found"`
}

func auditInJSON(r store.AuditReport) shownAudit {
	shown := shownAudit{Wrong: r.Off(), Seconds: r.Took.Seconds(), Checks: []shownCheck{}}
	for _, c := range r.Checks {
		shown.Checks = append(shown.Checks, shownCheck{c.Name, c.Promise, c.Rows, c.Off, c.Took.Seconds(), (*shownFinding)(c.First)})
	}
	return shown
}
