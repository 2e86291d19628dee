package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/quittance/quittance/store"
)

// deadStep is how many dead letters are resolved in one transaction.
const deadStep = 100

// deadRun resolves dead letters in bounded steps.
type deadRun struct {
	resolve  func(context.Context, []int64) ([]store.DeadOutcome, error)
	rate     int // a second; 0: as fast as it goes
	dry      bool
	outcomes []store.DeadOutcome
}

func (o *operator) replayDead() *cobra.Command {
	var f deadFlags
	var r deadRun
	var everything bool
	var format outputFormat
	cmd := &cobra.Command{
		Use:   "replay [ID...]",
		Short: "Have the operations of dead letters run again, with all their attempts before them",
		Long: `Have the operations of dead letters run again: of those that are named, or of those that the
filters choose. The attempts begin anew, and those of before stay on record.

Each is looked at first. Where the operation has ended meanwhile, or is being worked on, it is
not run again: the letter is moot, and is resolved as that. So is one that names no operation.
Whatever a replay does is safe to repeat: money moves once, and the acquirer is inquired about
what it was asked before.`,
		Example: `  quittance dead replay 17 18
  quittance dead replay --queue callbacks.retry --since 24h --dry-run
  quittance dead replay --text "connection refused" --rate 20
  quittance dead replay --everything`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			filter, err := f.filter()
			ids, wrong := lettersOf(args)
			if err = errors.Join(err, wrong); err == nil {
				err = chosenBy(cmd, args, "queue", "reason", "text", "since", "until", "everything")
			}
			if err == nil && (r.rate < 0 || r.rate > 10_000) {
				err = errors.New("--rate: from 1 to 10000 a second; 0 for as fast as it goes")
			}
			if err != nil {
				return misused(err)
			}
			return o.withStore(cmd.Context(), func(s *store.Store) error {
				r.resolve = func(ctx context.Context, ids []int64) ([]store.DeadOutcome, error) {
					return s.ReplayDeadLetters(ctx, ids, store.Rehearsal(r.dry))
				}
				if len(args) == 0 {
					if ids, err = s.UnresolvedLetters(cmd.Context(), filter); err != nil {
						return err
					}
				}
				return errors.Join(r.run(cmd.Context(), "replay", ids), r.show(cmd, &format), r.refused())
			})
		},
	}
	f.flags(cmd)
	cmd.Flags().BoolVar(&everything, "everything", false, "all that wait for an operator")
	cmd.Flags().BoolVar(&r.dry, "dry-run", false, "only say what would be done")
	cmd.Flags().IntVar(&r.rate, "rate", 0, "at most so many a second; 0 for as fast as it goes")
	format.flag(cmd)
	return cmd
}

// chosenBy wants letters to be named or to be chosen, not both, and never all by omission.
func chosenBy(cmd *cobra.Command, args []string, filters ...string) error {
	chosen := false
	for _, name := range filters {
		chosen = chosen || cmd.Flags().Changed(name)
	}
	switch {
	case len(args) > 0 && chosen:
		return errors.New("name dead letters, or choose them by flags; not both")
	case len(args) == 0 && !chosen:
		return errors.New("say which: ids, a filter as --queue, or --everything")
	}
	return nil
}

func lettersOf(args []string) (ids []int64, err error) {
	for _, arg := range args {
		id, wrong := letterOf(arg)
		err = errors.Join(err, wrong)
		ids = append(ids, id)
	}
	return ids, err
}

func (o *operator) dropDead() *cobra.Command {
	var r deadRun
	var reason string
	var format outputFormat
	cmd := &cobra.Command{
		Use:   "drop ID... --reason WHY",
		Short: "Give up the operations of dead letters for good: they fail",
		Long: `Give up the operations of dead letters for good. They fail with the code dropped, and what they
were about is free again: an invoice can be paid again, a recharge be committed or rolled back,
a payment by card that was never asked for is rejected; a callback, a push or a receipt is not sent.

An operation of which nobody knows what the acquirer did is not dropped, since that would be
guessing about money: replay it, and the acquirer is inquired. The reason is kept with the letter and
in the audit log.`,
		Example: `  quittance dead drop 17 --reason "test data, agreed with the shop"
  quittance dead drop 17 18 19 --reason "the partner is gone" --dry-run`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ids, err := lettersOf(args)
			if strings.TrimSpace(reason) == "" {
				err = errors.Join(err, errors.New("--reason: say why, for whoever looks at it later"))
			}
			if err != nil {
				return misused(err)
			}
			return o.withStore(cmd.Context(), func(s *store.Store) error {
				r.resolve = func(ctx context.Context, ids []int64) ([]store.DeadOutcome, error) {
					return s.DropDeadLetters(ctx, ids, reason, store.Rehearsal(r.dry))
				}
				return errors.Join(r.run(cmd.Context(), "drop", ids), r.show(cmd, &format), r.refused())
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why")
	cmd.Flags().BoolVar(&r.dry, "dry-run", false, "only say what would be done")
	_ = cmd.MarkFlagRequired("reason") // the flag is defined above
	format.flag(cmd)
	return cmd
}

// run resolves the letters step by step. What was resolved before an error stays so, and is shown.
func (r *deadRun) run(ctx context.Context, name string, ids []int64) error {
	display := newProgressDisplay(os.Stderr)
	defer display.close()
	tracker := display.track(name, len(ids))
	step := deadStep
	if r.rate > 0 {
		step = min(step, max(1, r.rate/10))
	}
	for len(ids) > 0 {
		n := min(step, len(ids))
		outcomes, err := r.resolve(ctx, ids[:n])
		if err != nil {
			return err
		}
		r.outcomes = append(r.outcomes, outcomes...)
		tracker.Increment(int64(n))
		if ids = ids[n:]; len(ids) > 0 {
			if err := r.wait(ctx, n); err != nil {
				return err
			}
		}
	}
	tracker.MarkAsDone()
	return nil
}

// wait takes as long as n letters may take.
func (r *deadRun) wait(ctx context.Context, n int) error {
	if r.rate == 0 || r.dry {
		return ctx.Err()
	}
	timer := time.NewTimer(time.Duration(n) * time.Second / time.Duration(r.rate))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// refused is why some letters were left as they are.
func (r *deadRun) refused() (err error) {
	for _, o := range r.outcomes {
		if o.Refused != nil {
			err = errors.Join(err, fmt.Errorf("dead letter %d: %w", o.ID, o.Refused))
		}
	}
	return err
}

// shownOutcome is what became of a dead letter in JSON.
type shownOutcome struct {
	ID         int64  `json:"id"`
	Operation  string `json:"operationId,omitempty"`
	Type       string `json:"type,omitempty"`
	Resolution string `json:"resolution,omitempty"`
	Note       string `json:"note,omitempty"`
	Refused    string `json:"refused,omitempty"`
	DryRun     bool   `json:"dryRun,omitempty"`
}

func (r *deadRun) show(cmd *cobra.Command, format *outputFormat) error {
	shown := make([]shownOutcome, len(r.outcomes))
	t := plainTable("id", "operation", "type", r.done(), "note")
	for i, o := range r.outcomes {
		shown[i] = shownOutcome{ID: o.ID, Type: string(o.Type), Resolution: string(o.Resolution), Note: o.Note, DryRun: r.dry}
		if !o.Operation.IsZero() {
			shown[i].Operation = o.Operation.String()
		}
		became, note := shown[i].Resolution, o.Note
		if o.Refused != nil {
			shown[i].Refused = o.Refused.Error()
			became, note = "refused", shown[i].Refused
		}
		t.AppendRow(table.Row{o.ID, shown[i].Operation, o.Type, became, note})
	}
	t.AppendFooter(table.Row{"", "", "", "", len(shown)})
	return format.show(cmd, t.Render(), shown)
}

func (r *deadRun) done() string {
	if r.dry {
		return "would be"
	}
	return "is"
}
