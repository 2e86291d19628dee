package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/quittance/quittance/queue"
	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/workers/deadletter"
)

// dead shows what was given up, and puts it right: nothing is kept where nobody can look at it.
func (o *operator) dead() *cobra.Command {
	dead := &cobra.Command{
		Use:               "dead",
		Short:             "Look at dead letters, explain them, and replay or drop them",
		PersistentPreRunE: nothingEmpty,
	}
	dead.AddCommand(o.listDead(), o.showDead(), o.explainDead(), o.replayDead(), o.dropDead())
	return dead
}

// deadFlags choose dead letters.
type deadFlags struct {
	store.DeadFilter
	since, until  string
	resolved, all bool
}

func (f *deadFlags) flags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.Queue, "queue", "", "only those from this work queue, as payments")
	flags.StringVar(&f.Reason, "reason", "", "only those that died of this: rejected, delivery_limit or other")
	flags.StringVar(&f.Text, "text", "", "only those that have this in their error, type or message id")
	flags.StringVar(&f.since, "since", "", "only those that died then or later: a time, as 2026-11-21T20:00:00Z, or how long ago, as 24h")
	flags.StringVar(&f.until, "until", "", "only those that died before then: a time, or how long ago")
}

// filter reads the flags.
func (f *deadFlags) filter() (store.DeadFilter, error) {
	err := errors.Join(timeFlag("--since", f.since, &f.Since), timeFlag("--until", f.until, &f.Until))
	if f.Queue != "" && !slices.Contains(queue.WorkQueues, f.Queue) {
		err = errors.Join(err, fmt.Errorf("--queue %q: there are %s", f.Queue, strings.Join(queue.WorkQueues, ", ")))
	}
	if f.Reason != "" && !slices.Contains(deadletter.Reasons, f.Reason) {
		err = errors.Join(err, fmt.Errorf("--reason %q: there are %s", f.Reason, strings.Join(deadletter.Reasons, ", ")))
	}
	switch {
	case f.all:
		f.Which = store.AllLetters
	case f.resolved:
		f.Which = store.ResolvedLetters
	}
	return f.DeadFilter, err
}

func (o *operator) listDead() *cobra.Command {
	var f deadFlags
	var format outputFormat
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the messages that were given up and wait for an operator, newest first",
		Example: `  quittance dead list
  quittance dead list --queue cards --since 24h
  quittance dead list --text "connection refused" -o json
  quittance dead list --resolved --before 1200`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			filter, err := f.filter()
			if err != nil {
				return misused(err)
			}
			return o.withStore(cmd.Context(), func(s *store.Store) error {
				letters, err := s.DeadLetters(cmd.Context(), filter)
				if err != nil {
					return err
				}
				return format.show(cmd, deadTable(letters), lettersInJSON(letters))
			})
		},
	}
	f.flags(cmd)
	cmd.Flags().BoolVar(&f.resolved, "resolved", false, "those that were replayed, dropped or moot")
	cmd.Flags().BoolVar(&f.all, "all", false, "those that wait, and those that were resolved")
	cmd.MarkFlagsMutuallyExclusive("resolved", "all")
	pageFlags(cmd, &f.Page)
	format.flag(cmd)
	return cmd
}

func deadTable(letters []store.DeadLetterRecord) string {
	t := plainTable("id", "died at", "queue", "type", "message", "seq", "reason", "attempts", "error", "resolved")
	for _, d := range letters {
		t.AppendRow(table.Row{
			d.ID, d.DiedAt.UTC().Format(shownTime), d.Queue, printable(d.Type), printable(d.MessageID), d.Seq, d.Reason, len(d.Attempts),
			beginning([]byte(headline(d.Error))), d.Resolution,
		})
	}
	t.AppendFooter(table.Row{"", "", "", "", "", "", "", "", "", len(letters)})
	return t.Render()
}

func headline(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

// printable is what somebody else wrote, without what a terminal would obey.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && !strconv.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
}

// letterOf reads the id of a dead letter.
func letterOf(text string) (int64, error) {
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil || id < 1 {
		return 0, misused(fmt.Errorf("%q: a dead letter's id is a number, as quittance dead list shows it", text))
	}
	return id, nil
}

// onLetter is a command on the dead letter that its argument names.
func (o *operator) onLetter(cmd *cobra.Command, do func(*cobra.Command, *store.Store, store.DeadLetterRecord) error) *cobra.Command {
	cmd.Args = cobra.ExactArgs(1)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		id, err := letterOf(args[0])
		if err != nil {
			return misused(err)
		}
		return o.withStore(cmd.Context(), func(s *store.Store) error {
			d, err := s.DeadLetter(cmd.Context(), id)
			if err == nil {
				err = do(cmd, s, d)
			}
			if err != nil {
				return fmt.Errorf("dead letter %d: %w", id, err)
			}
			return nil
		})
	}
	return cmd
}

func (o *operator) showDead() *cobra.Command {
	var format outputFormat
	cmd := o.onLetter(&cobra.Command{
		Use:     "show ID",
		Short:   "Show a dead letter whole: its history, headers and body",
		Example: "  quittance dead show 17\n  quittance dead show 17 -o json",
	}, func(cmd *cobra.Command, _ *store.Store, d store.DeadLetterRecord) error {
		shown := letterInJSON(d)
		return format.show(cmd, shown.text(), shown)
	})
	format.flag(cmd)
	return cmd
}

// shownLetter is a dead letter in JSON. A body that is no text is shown in base64.
type shownLetter struct {
	ID         int64          `json:"id"`
	DiedAt     time.Time      `json:"diedAt"`
	Queue      string         `json:"queue"`
	Type       string         `json:"type"`
	MessageID  string         `json:"messageId"`
	PropertyID string         `json:"propertyMessageId,omitempty"`
	Seq        int64          `json:"seq"`
	Operation  string         `json:"operationId,omitempty"`
	Reason     string         `json:"reason"`
	Error      string         `json:"error"`
	TraceID    string         `json:"traceId,omitempty"`
	Attempts   []shownFailure `json:"attempts"`
	Headers    map[string]any `json:"headers"`
	Body       string         `json:"body,omitempty"`
	BodyBase64 []byte         `json:"bodyBase64,omitempty"`
	ResolvedAt *time.Time     `json:"resolvedAt,omitempty"`
	Resolution string         `json:"resolution,omitempty"`
	ResolvedBy string         `json:"resolvedBy,omitempty"`
	Note       string         `json:"note,omitempty"`
}

// shownFailure is a failed attempt in JSON.
type shownFailure struct {
	Attempt  int       `json:"attempt"`
	Error    string    `json:"error"`
	FailedAt time.Time `json:"failedAt"`
}

func letterInJSON(d store.DeadLetterRecord) shownLetter {
	shown := shownLetter{
		ID: d.ID, DiedAt: d.DiedAt.UTC(), Queue: d.Queue, Type: d.Type, MessageID: d.MessageID, PropertyID: d.PropertyID, Seq: d.Seq,
		Reason: d.Reason, Error: d.Error, TraceID: d.TraceID, Attempts: failuresInJSON(d.Attempts), Headers: d.Headers,
		ResolvedAt: inUTC(d.ResolvedAt), Resolution: string(d.Resolution), ResolvedBy: d.ResolvedBy, Note: d.Note,
	}
	if !d.Operation.IsZero() {
		shown.Operation = d.Operation.String()
	}
	if utf8.Valid(d.Body) {
		shown.Body = string(d.Body)
	} else {
		shown.BodyBase64 = d.Body
	}
	return shown
}

func failuresInJSON(attempts []store.AttemptRecord) []shownFailure {
	shown := make([]shownFailure, len(attempts))
	for i, a := range attempts {
		shown[i] = shownFailure{Attempt: a.Attempt, Error: a.Error, FailedAt: a.FailedAt.UTC()}
	}
	return shown
}

func lettersInJSON(letters []store.DeadLetterRecord) []shownLetter {
	shown := make([]shownLetter, len(letters))
	for i, d := range letters {
		shown[i] = letterInJSON(d)
	}
	return shown
}

func (d shownLetter) text() string {
	lines := []string{
		"id:         " + strconv.FormatInt(d.ID, 10), "died at:    " + d.DiedAt.Format(shownTime), "queue:      " + d.Queue,
		"message:    " + printable(d.MessageID) + " at seq " + strconv.FormatInt(d.Seq, 10), "reason:     " + d.Reason, "error:      " + printable(d.Error),
	}
	for _, more := range []struct{ name, text string }{
		{"type:       ", d.Type},
		{"message-id: ", d.PropertyID},
		{"operation:  ", d.Operation},
		{"trace:      ", d.TraceID},
		{"resolved:   ", d.resolved()},
	} {
		if more.text != "" {
			lines = append(lines, more.name+printable(more.text))
		}
	}
	headers, _ := json.MarshalIndent(d.Headers, "", "  ") // what was decoded can be encoded
	body := strconv.Quote(d.Body)
	if d.BodyBase64 != nil {
		body = fmt.Sprintf("%q", d.BodyBase64)
	}
	return strings.Join(append(lines, "headers:    "+string(headers), "body:       "+body, historyTable(d.Attempts)), "\n")
}

func (d shownLetter) resolved() string {
	if d.ResolvedAt == nil {
		return ""
	}
	return strings.TrimSpace(d.Resolution + " by " + d.ResolvedBy + " at " + timeOrNothing(d.ResolvedAt) + ". " + d.Note)
}

func historyTable(all []shownFailure) string {
	t := plainTable("failed at", "attempt", "error")
	for _, a := range all {
		t.AppendRow(table.Row{a.FailedAt.Format(shownTime), a.Attempt, printable(a.Error)})
	}
	return t.Render()
}
