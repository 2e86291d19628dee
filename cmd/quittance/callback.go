package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/quittance/quittance/store"
)

// callback shows what partners were told, and tells them again.
func (o *operator) callback() *cobra.Command {
	callback := &cobra.Command{
		Use:               "callback",
		Short:             "Look at callbacks, send them again, and keep the endpoints to which they go",
		PersistentPreRunE: nothingEmpty,
	}
	callback.AddCommand(o.endpoint(), o.listCallbacks(), o.showCallback(), o.replayCallback(), o.replaySince())
	return callback
}

// nothingEmpty refuses a flag that was given nothing, as by a variable that is not set: no
// choice must not become all there is.
func nothingEmpty(cmd *cobra.Command, _ []string) (err error) {
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if f.Name != "description" && f.Value.String() == "" {
			err = errors.Join(err, fmt.Errorf("--%s: is empty", f.Name))
		}
	})
	return err
}

// callbackFlags choose callbacks.
type callbackFlags struct {
	client, endpoint string
	since, until     string
	event, resource  string
	kind, status     string
	before           string
	held             bool
	limit            int
	statuses         []string // of replay-since
	everybody        bool
}

func (f *callbackFlags) whoseFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.client, "client", "", "only those of the client with this id")
	cmd.Flags().StringVar(&f.endpoint, "endpoint", "", "only those to the endpoint with this id")
	cmd.Flags().StringVar(&f.until, "until", "", "only those that were made before then: a time, as 2026-11-21T20:00:00Z, or how long ago, as 1h")
}

func (o *operator) listCallbacks() *cobra.Command {
	var f callbackFlags
	var format outputFormat
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List callbacks, newest first",
		Example: `  quittance callback list --status dead
  quittance callback list --client backoffice --since 24h --type payment.finished
  quittance callback list --resource b3b67d90-a0a7-4861-a3bb-b91889452823 -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			filter, err := f.filter()
			if err != nil {
				return misused(err)
			}
			return o.withStore(cmd.Context(), func(s *store.Store) (err error) {
				if filter.Client, err = clientFlag(cmd.Context(), s, f.client); err != nil {
					return err
				}
				found, err := s.Callbacks(cmd.Context(), filter)
				if err != nil {
					return err
				}
				return format.show(cmd, callbackTable(found), callbacksInJSON(found))
			})
		},
	}
	f.whoseFlags(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.since, "since", "", "only those that were made then or later: a time, or how long ago, as 24h")
	flags.StringVar(&f.event, "event", "", "only those of the event with this id, the webhook-id")
	flags.StringVar(&f.resource, "resource", "", "only those about the payment, recharge or invoice with this id")
	flags.StringVar(&f.kind, "type", "", "only those of this event type")
	flags.StringVar(&f.status, "status", "", theStatuses)
	flags.BoolVar(&f.held, "held", false, "only those that are held until their endpoint is enabled")
	limitFlag(cmd, &f.limit)
	flags.StringVar(&f.before, "before", "", "only those that are older than the one with this id")
	format.flag(cmd)
	return cmd
}

// filter reads the flags but for --client.
func (f *callbackFlags) filter() (store.CallbackFilter, error) {
	filter := store.CallbackFilter{Held: f.held}
	filter.Limit = f.limit
	var resource store.PaymentID
	err := errors.Join(
		idFlag("endpoint", f.endpoint, store.ParseEndpointID, &filter.Endpoint),
		idFlag("event", f.event, store.ParseEventID, &filter.Event),
		idFlag("resource", f.resource, store.ParsePaymentID, &resource),
		idFlag("before", f.before, store.ParseOperationID, &filter.Before),
		nameFlag("type", f.kind, "there is no such event", store.ParseEventType, &filter.Type),
		nameFlag("status", f.status, theStatuses, store.ParseStatus, &filter.Status),
		timeFlag("--since", f.since, &filter.Since),
		timeFlag("--until", f.until, &filter.Until),
	)
	filter.Resource = resource
	return filter, err
}

func idFlag[ID any](name, text string, parse func(string) (ID, bool), into *ID) error {
	return nameFlag(name, text, "an id is a UUID", parse, into)
}

const theStatuses = "accepted, running, succeeded, failed or dead"

// nameFlag reads what is one of many; without a text it leaves into as it is.
func nameFlag[Name any](flag, text, wrong string, parse func(string) (Name, bool), into *Name) error {
	if text == "" {
		return nil
	}
	name, ok := parse(text)
	if !ok {
		return fmt.Errorf("--%s %q: %s", flag, text, wrong)
	}
	*into = name
	return nil
}

// timeFlag reads a time, or how long ago it was.
func timeFlag(name, text string, into *time.Time) error {
	if text == "" {
		return nil
	}
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		*into = time.Now().Add(-ago)
		return nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil || t.UnixMilli() < 0 {
		return fmt.Errorf("%s %q: a time, as 2026-11-21T20:00:00Z, or how long ago, as 24h", name, text)
	}
	*into = t
	return nil
}

// callbackOf reads the id of a callback.
func callbackOf(text string) (store.OperationID, error) {
	id, ok := store.ParseOperationID(text)
	if !ok {
		return id, misused(fmt.Errorf("%q: a callback's id is a UUID", text))
	}
	return id, nil
}

func (o *operator) showCallback() *cobra.Command {
	var format outputFormat
	cmd := &cobra.Command{
		Use:     "show CALLBACK",
		Short:   "Show a callback: what is sent, and every attempt with what was answered",
		Example: "  quittance callback show 01939d2c-6f1e-7a40-8c11-5b0c9e1d3a74",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := callbackOf(args[0])
			if err != nil {
				return err
			}
			return o.withStore(cmd.Context(), func(s *store.Store) error {
				c, err := s.Callback(cmd.Context(), 0, id)
				if err != nil {
					return fmt.Errorf("callback %s: %w", id, err)
				}
				return format.show(cmd, storyText(c), storyInJSON(c))
			})
		},
	}
	format.flag(cmd)
	return cmd
}

func (o *operator) replayCallback() *cobra.Command {
	var format outputFormat
	cmd := &cobra.Command{
		Use:   "replay CALLBACK",
		Short: "Send a callback once more, whatever became of it",
		Long: `Send a callback once more, whatever became of it. The attempt is not counted, and takes the
place of a retry that was pending: where it fails, the callback goes on where it stood.`,
		Example: "  quittance callback replay 01939d2c-6f1e-7a40-8c11-5b0c9e1d3a74",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := callbackOf(args[0])
			if err != nil {
				return err
			}
			return o.withStore(cmd.Context(), func(s *store.Store) error {
				if _, err := s.ReplayCallback(cmd.Context(), store.CallbackReplay{ID: id}); err != nil {
					return fmt.Errorf("callback %s: %w", id, err)
				}
				sent := sentAgain{ID: id.String()}
				return format.show(cmd, sent.text(), sent)
			})
		},
	}
	format.flag(cmd)
	return cmd
}

// replayStep is how many callbacks are looked at in one transaction.
const replayStep = 1000

func (o *operator) replaySince() *cobra.Command {
	var f callbackFlags
	var format outputFormat
	cmd := &cobra.Command{
		Use:   "replay-since TIME",
		Short: "Send all callbacks once more that were made since a time, oldest first",
		Long: `Send all callbacks once more that were made since a time, oldest first: a receiver that lost
what it was told is told again. TIME is a time, as 2026-11-21T20:00:00Z, or how long ago,
as 24h. Say whose: --client, --endpoint, or --everybody.

They wait in the database and are sent little by little. What is held, and what nobody wants
any more, is left out. Interrupted, it can be run again: what was replayed is then replayed twice,
with the same webhook-id.`,
		Example: `  quittance callback replay-since 24h --client backoffice
  quittance callback replay-since 2026-11-21T20:00:00Z --until 2026-11-21T22:00:00Z --endpoint 01939d2c-6f1e-7a40-8c11-5b0c9e1d3a74
  quittance callback replay-since 72h --everybody --status dead`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.since = args[0]
			filter, err := f.replayFilter()
			if err != nil {
				return misused(err)
			}
			return o.withStore(cmd.Context(), func(s *store.Store) (err error) {
				if filter.Client, err = clientFlag(cmd.Context(), s, f.client); err != nil {
					return err
				}
				done := replayedSince{}
				err = done.replay(cmd.Context(), s, filter)
				return errors.Join(err, format.show(cmd, done.text(), done))
			})
		},
	}
	f.whoseFlags(cmd)
	cmd.Flags().BoolVar(&f.everybody, "everybody", false, "those of all clients")
	cmd.Flags().StringArrayVar(&f.statuses, "status", nil, "only those that are succeeded, failed, dead, running or accepted; may be repeated")
	cmd.MarkFlagsOneRequired("client", "endpoint", "everybody")
	cmd.MarkFlagsMutuallyExclusive("client", "everybody")
	cmd.MarkFlagsMutuallyExclusive("endpoint", "everybody")
	format.flag(cmd)
	return cmd
}

// replayFilter reads the flags but for --client.
func (f *callbackFlags) replayFilter() (filter store.ReplayFilter, err error) {
	err = errors.Join(
		idFlag("endpoint", f.endpoint, store.ParseEndpointID, &filter.Endpoint),
		timeFlag("TIME", f.since, &filter.Since),
		timeFlag("--until", f.until, &filter.Until),
	)
	if f.since == "" {
		err = errors.Join(err, errors.New("TIME: is empty"))
	}
	for _, text := range f.statuses {
		status, ok := store.ParseStatus(text)
		if !ok {
			err = errors.Join(err, fmt.Errorf("--status %q: %s", text, theStatuses))
		}
		filter.Statuses = append(filter.Statuses, status)
	}
	if filter.Until.IsZero() {
		filter.Until = time.Now() // what is made meanwhile is on its way
	}
	return filter, err
}

// replayedSince is how many callbacks are sent once more.
type replayedSince struct {
	Replayed int `json:"replayed"`
}

func (r *replayedSince) replay(ctx context.Context, s *store.Store, filter store.ReplayFilter) error {
	var after store.OperationID
	for {
		n, next, err := s.ReplayCallbacks(ctx, filter, replayStep, after)
		r.Replayed += n
		if err != nil || next.IsZero() {
			return err
		}
		after = next
	}
}

func (r *replayedSince) text() string {
	return strconv.Itoa(r.Replayed) + " callbacks are sent once more"
}

func callbackTable(all []store.CallbackRecord) string {
	t := plainTable("id", "made at", "client", "event", "resource", "address", "status", "attempts", "error")
	for _, c := range all {
		t.AppendRow(table.Row{
			c.ID, c.CreatedAt.UTC().Format(shownTime), c.ClientID, c.Type, uuid.UUID(c.Resource), c.URL, callbackState(c), c.Attempts, c.ErrorMessage,
		})
	}
	return t.Render()
}

func callbackState(c store.CallbackRecord) string {
	switch {
	case c.Held:
		return "held"
	case c.Replaying:
		return string(c.Status) + ", replaying"
	case c.NextAt != nil:
		return string(c.Status) + ", next " + timeOrNothing(c.NextAt)
	}
	return string(c.Status)
}

func storyText(c store.CallbackStory) string {
	lines := []string{
		"id:       " + c.ID.String(), "event:    " + string(c.Type) + " " + c.Event.String(), "resource: " + uuid.UUID(c.Resource).String(),
		"client:   " + c.ClientID, "endpoint: " + c.Endpoint.String() + ", " + string(c.Policy), "address:  " + c.URL, "status:   " + callbackState(c.CallbackRecord),
		"made at:  " + c.CreatedAt.UTC().Format(shownTime),
	}
	if c.ErrorMessage != "" {
		lines = append(lines, "error:    "+c.ErrorMessage)
	}
	lines = append(lines, "body:     "+string(c.Body), attemptTable(c.History))
	return strings.Join(lines, "\n")
}

func attemptTable(all []store.CallbackAttempt) string {
	t := plainTable("began at", "attempt", "outcome", "status", "took", "reason", "answer")
	for _, a := range all {
		attempt := "replay"
		if a.Attempt > 0 {
			attempt = strconv.Itoa(a.Attempt)
		}
		t.AppendRow(table.Row{
			a.StartedAt.UTC().Format(shownTime), attempt, a.Outcome, statusOrNothing(a.Status), a.Duration.Round(time.Millisecond), a.Reason, beginning(a.Answer),
		})
	}
	return t.Render()
}

func statusOrNothing(status int) string {
	if status == 0 {
		return ""
	}
	return strconv.Itoa(status)
}

// beginning is what of an answer fits into a table. A terminal is shown no control characters of
// somebody else's.
func beginning(answer []byte) string {
	const most = 100
	text := strings.ToValidUTF8(string(answer[:min(len(answer), most)]), "")
	return strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
}

// shownCallback is a callback in JSON.
type shownCallback struct {
	ID            string     `json:"id"`
	EventID       string     `json:"eventId"`
	Type          string     `json:"type"`
	Resource      string     `json:"resource"`
	Client        string     `json:"client"`
	EndpointID    string     `json:"endpointId"`
	Policy        string     `json:"policy"`
	URL           string     `json:"url"`
	Status        string     `json:"status"`
	Held          bool       `json:"held"`
	Replaying     bool       `json:"replaying"`
	Attempts      int        `json:"attempts"`
	Error         string     `json:"error,omitempty"`
	CreatedAt     time.Time  `json:"createdAt"`
	NextAttemptAt *time.Time `json:"nextAttemptAt,omitempty"`
	FinishedAt    *time.Time `json:"finishedAt,omitempty"`
}

func callbackInJSON(c store.CallbackRecord) shownCallback {
	return shownCallback{
		ID: c.ID.String(), EventID: c.Event.String(), Type: string(c.Type), Resource: uuid.UUID(c.Resource).String(), Client: c.ClientID,
		EndpointID: c.Endpoint.String(), Policy: string(c.Policy), URL: c.URL, Status: string(c.Status), Held: c.Held, Replaying: c.Replaying,
		Attempts: c.Attempts, Error: c.ErrorMessage, CreatedAt: c.CreatedAt.UTC(), NextAttemptAt: inUTC(c.NextAt), FinishedAt: inUTC(c.FinishedAt),
	}
}

func callbacksInJSON(all []store.CallbackRecord) []shownCallback {
	shown := make([]shownCallback, len(all))
	for i, c := range all {
		shown[i] = callbackInJSON(c)
	}
	return shown
}

// shownStory is a callback in JSON with its attempts.
type shownStory struct {
	shownCallback
	Body    string         `json:"body"`
	History []shownAttempt `json:"history"`
}

type shownAttempt struct {
	StartedAt  time.Time `json:"startedAt"`
	Attempt    int       `json:"attempt"` // 0: a replay
	Outcome    string    `json:"outcome"`
	Status     int       `json:"status,omitempty"`
	Reason     string    `json:"reason,omitempty"`
	Answer     string    `json:"answer"`
	DurationMS int64     `json:"durationMs"`
}

func storyInJSON(c store.CallbackStory) shownStory {
	shown := shownStory{shownCallback: callbackInJSON(c.CallbackRecord), Body: string(c.Body), History: make([]shownAttempt, len(c.History))}
	for i, a := range c.History {
		shown.History[i] = shownAttempt{
			StartedAt: a.StartedAt.UTC(), Attempt: a.Attempt, Outcome: string(a.Outcome), Status: a.Status, Reason: a.Reason,
			Answer: string(a.Answer), DurationMS: a.Duration.Milliseconds(),
		}
	}
	return shown
}
