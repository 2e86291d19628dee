package receipt

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	gomail "github.com/wneessen/go-mail"
	"go.uber.org/goleak"

	"github.com/quittance/quittance/queue"
	"github.com/quittance/quittance/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// scene is a store and a mailer that do what they are told, and write down what they were
// asked for.
type scene struct {
	stale     bool
	startErr  error
	letterErr error
	sendErr   error
	finishErr error
	pingErr   error

	heard []string
}

func (s *scene) hear(format string, args ...any) {
	s.heard = append(s.heard, fmt.Sprintf(format, args...))
}

func (s *scene) StartReceipt(context.Context, store.Ref) (store.ReceiptMail, bool, error) {
	s.hear("start")
	return store.ReceiptMail{To: "payer@example.com"}, !s.stale && s.startErr == nil, s.startErr
}

func (s *scene) FinishReceipt(_ context.Context, _ store.Ref, code, _ string) (store.Outcome, error) {
	s.hear("finish %q", code)
	return store.Outcome{Type: store.ReceiptSend, Status: store.Succeeded, Code: code}, s.finishErr
}

func (s *scene) RetryOperation(context.Context, store.Failure) (store.Retry, error) {
	return store.Retry{}, errors.New("this is not decided here")
}

func (s *scene) Ready(context.Context) error { return nil }

func (s *scene) Letter(r store.ReceiptMail, pdf []byte) (*gomail.Msg, error) {
	s.hear("write to %s, with %s", r.To, pdf)
	return gomail.NewMsg(), s.letterErr
}

func (s *scene) Send(context.Context, *gomail.Msg) error {
	s.hear("send")
	return s.sendErr
}

func (s *scene) Ping(context.Context) error { return s.pingErr }

var (
	errBroken = errors.New("the font is broken")
	refusedIt = &refusal{"550 nobody here"}
)

// fate says in a word what an attempt came to.
func fate(o store.Outcome, err error) string {
	switch {
	case queue.IsOutage(err):
		return "outage"
	case errors.Is(err, store.ErrUnavailable):
		return "database away"
	case err != nil:
		return "failed"
	case o.Stale():
		return "stale"
	}
	return "ended"
}

func TestWhatBecomesOfAReceipt(t *testing.T) {
	t.Parallel()
	const write = "write to payer@example.com, with a PDF"
	for _, story := range []struct {
		name   string
		scene  scene
		pdfErr error
		off    bool
		heard  []string
		fate   string
	}{
		{name: "it is mailed", heard: []string{"start", write, "send", `finish ""`}, fate: "ended"},
		{name: "the message is stale", scene: scene{stale: true}, heard: []string{"start"}, fate: "stale"},
		{name: "the database is away", scene: scene{startErr: store.ErrUnavailable}, heard: []string{"start"}, fate: "database away"},
		{name: "it cannot be drawn", pdfErr: errBroken, heard: []string{"start"}, fate: "failed"},
		{name: "its address is not one", scene: scene{letterErr: refusedIt}, heard: []string{"start", write, `finish "mail_refused"`}, fate: "ended"},
		{name: "it is refused for good", scene: scene{sendErr: refusedIt}, heard: []string{"start", write, "send", `finish "mail_refused"`}, fate: "ended"},
		{name: "its mailbox is busy", scene: scene{sendErr: errors.New("450 busy")}, heard: []string{"start", write, "send"}, fate: "failed"},
		{name: "the mail server is down", scene: scene{sendErr: fmt.Errorf("%w: refused", errDown)}, heard: []string{"start", write, "send"}, fate: "outage"},
		{name: "the database is away once it is mailed", scene: scene{finishErr: store.ErrUnavailable}, heard: []string{"start", write, "send", `finish ""`}, fate: "database away"},
		{name: "mail is off", off: true, heard: []string{`finish "mail_off"`}, fate: "ended"},
	} {
		s := story.scene
		w := &worker{receipts: &s, mailer: &s, pdf: func(store.Receipt) ([]byte, error) { return []byte("a PDF"), story.pdfErr }}
		if story.off {
			w.mailer = nil
		}
		if got := fate(w.do(t.Context(), store.Ref{Seq: 1})); got != story.fate {
			t.Errorf("%s: it came to %s, want %s", story.name, got, story.fate)
		}
		if diff := cmp.Diff(story.heard, s.heard); diff != "" {
			t.Errorf("%s: what was done, -want +got\n%s", story.name, diff)
		}
	}
}

func TestItIsReadyWhileTheMailServerIs(t *testing.T) {
	t.Parallel()
	s := &scene{pingErr: errDown}
	if err := (&worker{receipts: s, mailer: s}).ready(t.Context()); !errors.Is(err, errDown) {
		t.Errorf("without its mail server: %v", err)
	}
	if err := (&worker{receipts: s}).ready(t.Context()); err != nil {
		t.Errorf("with mail off: %v", err)
	}
}
