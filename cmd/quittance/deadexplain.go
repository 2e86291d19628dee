package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/money"
)

// explanation says in plain words what a dead letter is about.
type explanation struct {
	Letter shownLetter `json:"letter"`
	Failed []string    `json:"failed"` // what, and how often
	State  []string    `json:"state"`  // of the operation, and of the money, now
	Replay string      `json:"replay"` // what it would do
	Drop   string      `json:"drop"`
}

func (o *operator) explainDead() *cobra.Command {
	var format outputFormat
	cmd := o.onLetter(&cobra.Command{
		Use:     "explain ID",
		Short:   "Say in plain words what failed, how often, where the money is now, and what a replay or a drop would do",
		Example: "  quittance dead explain 17",
	}, func(cmd *cobra.Command, s *store.Store, d store.DeadLetterRecord) error {
		e, err := explain(cmd.Context(), s, d)
		if err != nil {
			return err
		}
		return format.show(cmd, e.text(), e)
	})
	format.flag(cmd)
	return cmd
}

func (e explanation) text() string {
	var lines []string
	for _, part := range []struct {
		title     string
		sentences []string
	}{{"What failed", e.Failed}, {"How it stands now", e.State}, {"A replay", []string{e.Replay}}, {"A drop", []string{e.Drop}}} {
		lines = append(lines, part.title)
		for _, s := range part.sentences {
			lines = append(lines, "  "+printable(s))
		}
	}
	return strings.Join(lines, "\n")
}

func explain(ctx context.Context, s *store.Store, d store.DeadLetterRecord) (e explanation, err error) {
	e = explanation{Letter: letterInJSON(d), Failed: whatFailed(d)}
	replay, err := s.ReplayDeadLetters(ctx, []int64{d.ID}, store.DryRun)
	if err != nil {
		return e, err
	}
	drop, err := s.DropDeadLetters(ctx, []int64{d.ID}, "", store.DryRun)
	if err != nil {
		return e, err
	}
	e.Replay, e.Drop = wouldReplay(replay[0]), wouldDrop(drop[0], replay[0].Resolution == store.Moot)
	e.State, err = howItStands(ctx, s, d)
	return e, err
}

// whatFailed is read from the letter alone.
func whatFailed(d store.DeadLetterRecord) []string {
	where := fmt.Sprintf("A message of the queue %s died at %s.", d.Queue, d.DiedAt.UTC().Format(shownTime))
	if d.Seq == 0 {
		where = fmt.Sprintf("A message that nobody can read came to the queue %s and died at %s: %s. Quittance never sends such a message; somebody published it by hand, or another program did.",
			d.Queue, d.DiedAt.UTC().Format(shownTime), strings.TrimSuffix(d.Error, "."))
	}
	said := []string{where}
	switch {
	case d.Reason == "delivery_limit":
		said = append(said, "The broker gave it up: it was delivered too often without an end, since its worker panicked or died each time, or lost the broker.")
	case d.Seq != 0 && d.Reason == "rejected":
		said = append(said, "Its worker gave it up: "+headline(d.Error))
	case d.Seq != 0:
		said = append(said, "It came to the dead letters past its worker: "+headline(d.Error))
	}
	if n := len(d.Attempts); n > 0 {
		first, last := d.Attempts[0], d.Attempts[n-1]
		said = append(said, fmt.Sprintf("%s on record, from %s to %s; the last one: %s", times(n, "failed attempt"),
			first.FailedAt.UTC().Format(shownTime), last.FailedAt.UTC().Format(shownTime), headline(last.Error)))
	}
	return said
}

func times(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func wouldReplay(o store.DeadOutcome) string {
	switch {
	case o.Refused != nil:
		return "does nothing: " + o.Refused.Error() + "."
	case o.Resolution == store.Moot:
		return "runs nothing, and resolves the letter as moot. " + o.Note
	}
	return "runs the operation again, with all its attempts before it. " + runsAgain[o.Type]
}

// runsAgain says what a worker does with an operation that is replayed.
var runsAgain = map[store.OperationType]string{
	store.InvoicePay:       "The invoice is paid if the payer's balance covers it then, and refused otherwise.",
	store.RechargeCommit:   "The amount is credited, since the commit was accepted in time.",
	store.RechargeRollback: "The recharge is rolled back.",
	store.RechargeExpire:   "The recharge expires.",
	store.RechargeLate:     "The late money is booked into suspense.",
	store.PaymentAuthorise: asksTheAcquirer,
	store.PaymentConfirm:   asksTheAcquirer,
	store.PaymentComplete:  asksTheAcquirer,
	store.PaymentCancel:    asksTheAcquirer,
	store.PaymentExpire:    asksTheAcquirer,
	store.PaymentReverse:   asksTheAcquirer,
	store.ReceiptSend:      "The receipt is mailed, under the same Message-ID as before.",
	store.CallbackSend:     "The callback is sent under the same webhook-id; it is held while its endpoint is disabled, and fails where that is deleted.",
	store.PushSend:         "The push is sent unless it would come too late to be of use.",
}

const asksTheAcquirer = "Where the acquirer was asked before it is inquired what became of that, under the same id; it is asked only for what it never heard of."

func wouldDrop(o store.DeadOutcome, moot bool) string {
	switch {
	case o.Refused != nil:
		return "is refused: " + o.Refused.Error() + "."
	case moot:
		return "resolves the letter, and has no other effect."
	}
	return "has the operation fail with the code dropped. " + fails[o.Type]
}

// fails says what follows from an operation that is dropped.
var fails = map[store.OperationType]string{
	store.InvoicePay:       "The invoice awaits payment again, with the error code 9; no money moves.",
	store.RechargeCommit:   "The recharge is created as before: it can be committed again until it expires.",
	store.RechargeRollback: "The recharge is created as before: it can be committed or rolled back until it expires.",
	store.RechargeExpire:   "The recharge stays created, and its expiry is opened again at once.",
	store.RechargeLate:     "The late money is booked nowhere until quittance recharge late accepts it again.",
	store.PaymentAuthorise: "The payment is rejected; the acquirer was never asked.",
	store.PaymentConfirm:   "The payment waits for its confirmation as before, until its time is over; the acquirer was never asked.",
	store.PaymentComplete:  "The money stays held.",
	store.PaymentCancel:    "The payment stays as it is.",
	store.PaymentExpire:    "The payment stays as it is, and its expiry is opened again in an hour.",
	store.PaymentReverse:   "No money is given back, and it can be reversed again.",
	store.ReceiptSend:      "No receipt is mailed.",
	store.CallbackSend:     "The callback is not sent; quittance callback replay can still send it.",
	store.PushSend:         "The phone is not told.",
}

// howItStands reads the operation and what it is about.
func howItStands(ctx context.Context, s *store.Store, d store.DeadLetterRecord) ([]string, error) {
	if d.Operation.IsZero() {
		return []string{"It names no operation, so that no money waits for it."}, nil
	}
	o, err := s.Operation(ctx, d.Operation)
	if errors.Is(err, store.ErrOperationNotFound) {
		return []string{"There is no operation " + d.Operation.String() + ", or none any more: no money waits for it."}, nil
	}
	if err != nil {
		return nil, err
	}
	said := []string{operationNow(o)}
	if d.Seq == 0 {
		said[0] = "The message-id that it came with names an operation. " + said[0]
	}
	more, err := moneyNow(ctx, s, o)
	return append(said, more...), err
}

func operationNow(o store.Operation) string {
	now := fmt.Sprintf("The operation %s (%s) was accepted at %s and is %s, after %s that count.",
		o.ID, o.Type, o.CreatedAt.UTC().Format(shownTime), o.Status, times(o.Attempts, "attempt"))
	if o.Status == store.Failed {
		now += " Its error: " + o.ErrorCode + ", " + o.ErrorMessage
	}
	return now
}

// moneyNow says where the money is that an operation is about, or what was told to whom.
func moneyNow(ctx context.Context, s *store.Store, o store.Operation) ([]string, error) {
	switch o.Type {
	case store.InvoicePay:
		i, err := s.Invoice(ctx, o.Resource)
		return []string{invoiceNow(i)}, err
	case store.RechargeCommit, store.RechargeRollback, store.RechargeExpire, store.RechargeLate:
		r, err := s.Recharge(ctx, o.Provider, o.Resource)
		return []string{rechargeNow(r)}, err
	case store.CallbackSend:
		c, err := s.Callback(ctx, 0, o.ID)
		if err != nil {
			return nil, err
		}
		e, err := s.Endpoint(ctx, 0, c.Endpoint)
		return []string{callbackNow(c, e, err)}, unlessNotFound(err)
	case store.PushSend:
		p, err := s.Push(ctx, o.ID)
		return []string{pushNow(o, p, err)}, unlessNotFound(err)
	}
	return cardNow(ctx, s, o)
}

func unlessNotFound(err error) error {
	if errors.Is(err, store.ErrEndpointNotFound) || errors.Is(err, store.ErrOperationNotFound) {
		return nil
	}
	return err
}

func invoiceNow(i store.Invoice) string {
	state := map[store.InvoiceState]string{
		store.AwaitingPayment: "awaits payment: no money has moved", store.PaymentInProgress: "is in progress: no money has moved, and nobody can pay it otherwise meanwhile",
		store.Paid: "is paid: the money has moved", store.Expired: "has expired: no money has moved",
	}[i.State]
	return fmt.Sprintf("The invoice %s of %s from %s to %s %s.", i.Number, i.Amount, i.Payer, i.Recipient, state)
}

func rechargeNow(r store.Recharge) string {
	state := map[store.RechargeState]string{
		store.RechargeCommitted: "is committed: the money is credited", store.RechargeRolledBack: "is rolled back: nothing was credited",
		store.RechargeExpired: "has expired: nothing was credited",
	}[r.State]
	if state == "" {
		state = fmt.Sprintf("is %s: nothing was credited; it expires at %s", strings.ReplaceAll(string(r.State), "_", " "), r.ExpiresAt.UTC().Format(shownTime))
	}
	return fmt.Sprintf("The recharge %s of %s to the account %d by %s %s.", r.ID, r.Amount, r.Account, r.Provider, state)
}

func callbackNow(c store.CallbackStory, e store.Endpoint, noEndpoint error) string {
	delivered := "was not delivered"
	if c.Status == store.Succeeded {
		delivered = "was delivered"
	}
	endpoint := "deleted"
	if noEndpoint == nil {
		endpoint = stateOf(e)
	}
	return fmt.Sprintf("The callback %s about %x to %s %s, in %s; its endpoint %s is %s. No money waits for it.",
		c.Type, c.Resource, c.URL, delivered, times(len(c.History), "attempt"), c.Endpoint, endpoint)
}

func pushNow(o store.Operation, p store.PushRecord, forgotten error) string {
	if forgotten != nil {
		return "Its push is forgotten. No money waits for it."
	}
	told, phone := "was not told", "has a phone"
	if o.Status == store.Succeeded {
		told = "was told"
	}
	if !p.Phone {
		phone = "has no phone that can be told"
	}
	return fmt.Sprintf("The account %s %s of %s, of %s, and %s. No money waits for it.", p.Account, told, p.Type, p.At.UTC().Format(shownTime), phone)
}

// cardNow says what a payment by card has come to, and what of that is the acquirer's word.
func cardNow(ctx context.Context, s *store.Store, o store.Operation) ([]string, error) {
	p, err := s.CardPayment(ctx, 0, o.Resource)
	if err != nil {
		return nil, err
	}
	said := []string{fmt.Sprintf("The payment %s of %s is %s/%s; %s of it are given back.",
		p.ID, p.Amount, p.Status, p.PaymentStatus, money.Amount{Minor: p.Reversed, Currency: p.Amount.Currency})}
	if o.Type == store.ReceiptSend {
		mailed := "Its receipt was not mailed, as far as anybody knows. No money waits for it."
		if o.Status == store.Succeeded {
			mailed = "Its receipt was mailed."
		}
		return append(said, mailed), nil
	}
	intents, err := s.Intents(ctx, p.ID)
	for _, i := range intents {
		said = append(said, intentNow(i, o.ID, p.Amount.Currency))
	}
	return said, err
}

func intentNow(i store.IntentRecord, asked store.OperationID, c money.Currency) string {
	state := map[string]string{
		"intended": "was never made", "called": "is being made, or was when its worker died: nobody knows what became of it",
		"unknown":  fmt.Sprintf("has an unknown outcome, having been asked %s (%s)", times(i.Inquiries, "time"), i.Error),
		"approved": "was approved", "refused": "was refused",
	}[i.State]
	if i.FinishedAt != nil {
		state += " at " + i.FinishedAt.UTC().Format(shownTime)
	} else if i.LeasedUntil != nil && i.LeasedUntil.After(time.Now()) {
		state += ", and nobody asks again before " + i.LeasedUntil.UTC().Format(shownTime)
	}
	whose := ""
	if i.Operation == asked {
		whose = ", of this operation,"
	}
	return fmt.Sprintf("The acquirer's %s of %s%s %s.", i.Call, money.Amount{Minor: i.Amount, Currency: c}, whose, state)
}
