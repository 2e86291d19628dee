// Package receipt mails the receipts of finished payments by card.
//
// A mail may go out twice, never not at all: the operation ends after the mail server has
// taken the mail, so a crash in between sends it again, under the same Message-ID, by which
// a mailbox knows the copy. A mail server that is down is waited for and uses up nothing;
// an address that does not take its mail is tried again later, by itself, and what is
// refused for good ends its operation.
package receipt

import (
	"context"
	"errors"
	"log/slog"
	"time"

	gomail "github.com/wneessen/go-mail"

	"github.com/quittance/quittance/queue"
	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/workers"
	"github.com/quittance/quittance/workers/receipt/document"
)

// atOnce is how many mails are on their way at the same time, each on its own connection.
const atOnce = 8

var ladder = workers.Ladder(30*time.Second, 2*time.Minute, 10*time.Minute, time.Hour)

// receipts is what this worker needs of the store.
type receipts interface {
	StartReceipt(context.Context, store.Ref) (store.ReceiptMail, bool, error)
	FinishReceipt(ctx context.Context, ref store.Ref, code, message string) (store.Outcome, error)
	RetryOperation(context.Context, store.Failure) (store.Retry, error)
	Ready(context.Context) error
}

// mailer is what it needs of a mail server.
type mailer interface {
	Letter(store.ReceiptMail, []byte) (*gomail.Msg, error)
	Send(context.Context, *gomail.Msg) error
	Ping(context.Context) error
}

type worker struct {
	receipts receipts
	mailer   mailer // nil: mail is off
	pdf      func(store.Receipt) ([]byte, error)
}

// New returns the worker of the queue receipts. Where m is nil, mail is off: the operations
// of receipts fail, and say so.
func New(r receipts, m *Mailer, c *queue.Connection, log *slog.Logger, counted *workers.Metrics) workers.Worker {
	w := &worker{receipts: r, pdf: document.PDF}
	if m != nil {
		w.mailer = m
	}
	singly := &workers.Singly{
		Attempts: workers.Attempts{
			Queue: queue.Receipts, Ladder: ladder, Retry: r.RetryOperation, Probe: w.ready,
			Log: log, Metrics: counted,
		},
		AtOnce: atOnce, Drain: sendTimeout + 5*time.Second, Do: w.do,
	}
	mailing := singly.Worker("receipt", c)
	if m != nil {
		return mailing
	}
	return workers.Worker{Name: mailing.Name, Run: func(ctx context.Context) error {
		log.Warn("mail is off: no QUITTANCE_SMTP_URL; receipts are not mailed", "worker", mailing.Name)
		return mailing.Run(ctx)
	}}
}

func (w *worker) ready(ctx context.Context) error {
	if err := w.receipts.Ready(ctx); err != nil || w.mailer == nil {
		return err
	}
	return w.mailer.Ping(ctx)
}

// do mails the receipt that a message names.
func (w *worker) do(ctx context.Context, ref store.Ref) (store.Outcome, error) {
	if w.mailer == nil {
		return w.receipts.FinishReceipt(ctx, ref, "mail_off", "Receipts are not mailed here.")
	}
	r, ours, err := w.receipts.StartReceipt(ctx, ref)
	if err != nil || !ours {
		return store.Outcome{}, err
	}
	err = w.mail(ctx, r)
	if said, refused := errors.AsType[*refusal](err); refused {
		return w.receipts.FinishReceipt(ctx, ref, "mail_refused", said.Error())
	}
	if errors.Is(err, errDown) {
		return store.Outcome{}, queue.Outage(err)
	}
	if err != nil {
		return store.Outcome{}, err
	}
	return w.receipts.FinishReceipt(ctx, ref, "", "")
}

func (w *worker) mail(ctx context.Context, r store.ReceiptMail) error {
	pdf, err := w.pdf(r.Receipt)
	if err != nil {
		return err
	}
	letter, err := w.mailer.Letter(r, pdf)
	if err != nil {
		return err
	}
	return w.mailer.Send(ctx, letter)
}
