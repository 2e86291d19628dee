package acquirertest

import (
	"errors"
	"time"
)

// book is what the acquirer knows: the calls that were done and what became of the money.
// Whoever uses it has the Acquirer's lock.
type book struct {
	journal *journal
	holdFor time.Duration
	pages   string // of 3-D Secure

	records        map[string]*record
	authorisations map[string]authorisation
	seen           map[string]bool // calls that were cut off before they were done
	order          []*record
}

// record is a call that was done.
type record struct {
	ID          string `json:"id"`
	Call        string `json:"call"`
	Payment     string `json:"payment"`
	Amount      int64  `json:"amount"`
	Captured    bool   `json:"captured"`
	Fingerprint string `json:"fingerprint"`
	Answer      answer `json:"answer"`
}

// The state of an authorisation.
const (
	asked    = "asked" // the payer, to confirm
	held     = "held"
	captured = "captured"
	refused  = "refused"
	voided   = "voided"
)

// authorisation is what became of a payment's money.
type authorisation struct {
	ID        string    `json:"id"`
	Payment   string    `json:"payment"`
	State     string    `json:"state"`
	Mask      string    `json:"mask,omitempty"`
	Amount    int64     `json:"amount"`
	Currency  uint16    `json:"currency"`
	AtOnce    bool      `json:"at_once"` // capture
	ToCard    bool      `json:"to_card"`
	Challenge string    `json:"challenge,omitempty"`
	Left      int       `json:"left"`
	HeldAt    time.Time `json:"held_at,omitzero"`
	Captured  int64     `json:"captured"`
	Refunded  int64     `json:"refunded"`
	NotifyURL string    `json:"notify_url,omitempty"`
}

func newBook(j *journal, holdFor time.Duration) (*book, error) {
	b := &book{
		journal:        j,
		holdFor:        holdFor,
		records:        make(map[string]*record),
		authorisations: make(map[string]authorisation),
		seen:           make(map[string]bool),
	}
	return b, j.read(b.enter)
}

// entry is what changes at once: one line of the journal.
type entry struct {
	Record        *record        `json:"record,omitempty"`
	Authorisation *authorisation `json:"authorisation,omitempty"`
	Seen          string         `json:"seen,omitempty"`
}

func (b *book) enter(e entry) {
	if e.Record != nil {
		b.records[e.Record.ID] = e.Record
		b.order = append(b.order, e.Record)
	}
	if e.Authorisation != nil {
		b.authorisations[e.Authorisation.ID] = *e.Authorisation
	}
	if e.Seen != "" {
		b.seen[e.Seen] = true
	}
}

// write keeps an entry. The journal comes first: what was answered is known after a restart.
func (b *book) write(e entry) error {
	if err := b.journal.write(e); err != nil {
		return err
	}
	b.enter(e)
	return nil
}

// errReused says that the id is that of another call.
var errReused = errors.New("id_reused")

// done is what came of a call.
type done struct {
	answer answer
	fresh  bool   // it was not made before
	notify string // where to tell
	cut    bool   // the connection is to be cut now
}

// do does a call that moves money, unless it was done before.
func (b *book) do(c call, now time.Time) (done, error) {
	if r := b.records[c.ID]; r != nil {
		if r.Fingerprint != c.fingerprint() {
			return done{}, errReused
		}
		return done{answer: r.Answer}, nil
	}
	if c.Name == "authorise" && !b.seen[c.ID] && behaviourOf(c.Token).cutBefore {
		return done{cut: true}, b.write(entry{Seen: c.ID})
	}
	said, a, known := b.decide(c, now)
	r := &record{
		ID: c.ID, Call: c.Name, Payment: c.Payment, Amount: c.Amount,
		Captured: a.State == captured && said.Status == approved && c.Name != "refund", Fingerprint: c.fingerprint(), Answer: said,
	}
	e := entry{Record: r}
	if known {
		e.Authorisation = &a
		if c.Name == "confirm" {
			r.Amount = a.Amount
		}
	}
	if err := b.write(e); err != nil {
		return done{}, err
	}
	cut := c.Name == "authorise" && said.Status == approved && behaviourOf(c.Token).cutAfter
	return done{answer: said, fresh: true, notify: a.NotifyURL, cut: cut}, nil
}

func behaviourOf(token string) behaviour {
	c, _ := cardOf(token)
	return behaviours[c.number]
}

// inquire tells what became of a call.
func (b *book) inquire(id string) answer {
	if r := b.records[id]; r != nil {
		return r.Answer
	}
	if _, ok := b.authorisations[id]; ok { // voided before it arrived: it can only be declined
		return decline(id, "voided")
	}
	return answer{ID: id, Status: notFound}
}

// paymentOf is the payment that a call is about.
func (b *book) paymentOf(c call) string {
	if r := b.records[c.ID]; r != nil && c.Payment == "" {
		return r.Payment
	}
	return c.Payment
}
