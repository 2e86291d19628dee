package acquirertest

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

// Config says how an Acquirer is to be. The zero value is good.
type Config struct {
	Folder  string           // of the journal; "": nothing outlives the Acquirer
	Key     string           // that calls must carry; "": none
	HoldFor time.Duration    // how long money is held; 0: 30 days
	Now     func() time.Time // nil: the clock
}

// Acquirer is an acquirer to test against: an http.Handler of everything under /acquirer.
type Acquirer struct {
	config   Config
	mux      *http.ServeMux
	faults   faults
	notifier *notifier
	ctx      context.Context // ends with Close
	end      context.CancelFunc

	mu      sync.Mutex // of the book, and of closed
	book    *book
	tokens  map[string]string // the fingerprints of tokenise calls, by id
	closed  bool
	running sync.WaitGroup // calls under way
}

// New returns an acquirer that remembers what its folder holds. Close ends it.
func New(c Config) (*Acquirer, error) {
	if c.HoldFor <= 0 {
		c.HoldFor = 30 * 24 * time.Hour
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	j, err := openJournal(c.Folder)
	if err != nil {
		return nil, err
	}
	b, err := newBook(j, c.HoldFor)
	if err != nil {
		return nil, errors.Join(err, j.close())
	}
	a := &Acquirer{config: c, book: b, tokens: make(map[string]string), mux: http.NewServeMux()}
	a.ctx, a.end = context.WithCancel(context.Background())
	a.notifier = newNotifier(a.ctx)
	a.routes()
	return a, nil
}

// Close ends the calls under way, and everything else. What was answered is kept; no call is
// taken any more.
func (a *Acquirer) Close() error {
	a.end()
	a.mu.Lock()
	first := !a.closed
	a.closed = true
	a.mu.Unlock()
	a.running.Wait()
	a.notifier.running.Wait()
	if !first {
		return nil
	}
	return a.book.journal.close()
}

// Fault makes calls fail that are still to come.
func (a *Acquirer) Fault(f Fault) error { return a.faults.add(f) }

// ClearFaults forgets the faults that are still to come.
func (a *Acquirer) ClearFaults() { a.faults.clear() }

// Operation is a call that was done.
type Operation struct {
	Payment  string `json:"payment"`
	Call     string `json:"call"`
	Key      string `json:"key"`
	Amount   int64  `json:"amount"`
	Captured bool   `json:"captured"` // money was taken
}

// maxListed is how many operations are listed where no payment is named.
const maxListed = 1000

// Operations returns what was done for a payment, oldest first; "" is for any.
func (a *Acquirer) Operations(payment string) []Operation {
	a.mu.Lock()
	defer a.mu.Unlock()
	from := a.book.order
	if payment == "" {
		from = from[max(0, len(from)-maxListed):]
	}
	all := []Operation{}
	for _, r := range from {
		if payment == "" || r.Payment == payment {
			all = append(all, Operation{Payment: r.Payment, Call: r.Call, Key: r.ID, Amount: r.Amount, Captured: r.Captured})
		}
	}
	return all
}

// ServeHTTP serves everything under /acquirer.
func (a *Acquirer) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.mux.ServeHTTP(w, r) }

func (a *Acquirer) routes() {
	for _, name := range calls {
		a.mux.HandleFunc("POST /acquirer/"+name, func(w http.ResponseWriter, r *http.Request) { a.take(w, r, name) })
	}
	a.mux.HandleFunc("GET /acquirer/health", a.health)
	a.mux.HandleFunc("GET /acquirer/3ds", a.show3DS)
	a.mux.HandleFunc("POST /acquirer/3ds", a.show3DS)
	a.mux.HandleFunc("GET /acquirer/operations", a.operations)
	a.mux.HandleFunc("GET /acquirer/faults", a.listFaults)
	a.mux.HandleFunc("POST /acquirer/faults", a.addFault)
	a.mux.HandleFunc("DELETE /acquirer/faults", func(http.ResponseWriter, *http.Request) { a.ClearFaults() })
}

// maxBody is how many bytes of a request are read.
const maxBody = 64 << 10

// take takes a call.
func (a *Acquirer) take(w http.ResponseWriter, r *http.Request, name string) {
	if !a.begin() {
		panic(http.ErrAbortHandler)
	}
	defer a.running.Done()
	if !a.trusts(r) {
		refuse(w, http.StatusUnauthorized, "wrong_key")
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		refuse(w, http.StatusBadRequest, "malformed")
		return
	}
	c, err := decode(name, body)
	switch {
	case errors.Is(err, errNotJSON):
		refuse(w, http.StatusBadRequest, "malformed")
		return
	case err != nil:
		refuse(w, http.StatusUnprocessableEntity, "malformed")
		return
	}
	a.answer(w, c, "http://"+r.Host+"/acquirer/3ds")
}

// answer does a call, or lets it fail as it was asked to. A panic with ErrAbortHandler is how
// a handler cuts its connection.
func (a *Acquirer) answer(w http.ResponseWriter, c call, pages string) {
	fault := a.faults.next(c.Name, a.paymentOf(c))
	if !fault.strike(a.ctx) || fault.Kind == CutBefore {
		panic(http.ErrAbortHandler)
	}
	if fault.Kind == Error500 {
		refuse(w, http.StatusInternalServerError, "fault")
		return
	}
	d, err := a.do(c, pages)
	switch {
	case errors.Is(err, errReused):
		refuse(w, http.StatusUnprocessableEntity, errReused.Error())
		return
	case err != nil:
		refuse(w, http.StatusInternalServerError, "not_kept")
		return
	}
	if d.fresh {
		a.notifier.tell(d.notify, c.ID)
		if fault.Kind == DuplicateNotification {
			a.notifier.tell(d.notify, c.ID)
		}
	}
	if d.cut || fault.Kind == CutAfter {
		panic(http.ErrAbortHandler)
	}
	writeJSON(w, http.StatusOK, d.answer)
}

func (a *Acquirer) do(c call, pages string) (done, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch c.Name {
	case "tokenise":
		return a.tokenise(c)
	case "inquire":
		return done{answer: a.book.inquire(c.ID)}, nil
	}
	a.book.pages = pages
	return a.book.do(c, a.config.Now())
}

// tokenise keeps nothing of the card: the token holds it. What was asked under which id is
// remembered until the end of the process, by a fingerprint.
func (a *Acquirer) tokenise(c call) (done, error) {
	print := c.fingerprint()
	if before, ok := a.tokens[c.ID]; ok && before != print {
		return done{}, errReused
	}
	a.tokens[c.ID] = print
	of, ok := card{c.Number, c.Expiry}, true
	if c.Token != "" {
		of, ok = cardOf(c.Token)
	}
	if !ok || !of.known() {
		return done{answer: decline(c.ID, "no_such_card")}, nil
	}
	return done{answer: answer{
		ID: c.ID, Status: approved, Token: of.token(c.ID), Mask: of.mask(), Expiry: of.expiry, Brand: of.brand(),
	}}, nil
}

func (a *Acquirer) paymentOf(c call) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.book.paymentOf(c)
}

// begin is false once the Acquirer is closed.
func (a *Acquirer) begin() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.closed {
		a.running.Add(1)
	}
	return !a.closed
}

func (a *Acquirer) trusts(r *http.Request) bool {
	given, want := r.Header.Get("Authorization"), "Bearer "+a.config.Key
	return a.config.Key == "" || subtle.ConstantTimeCompare([]byte(given), []byte(want)) == 1
}

func (a *Acquirer) health(w http.ResponseWriter, r *http.Request) {
	if !a.trusts(r) {
		refuse(w, http.StatusUnauthorized, "wrong_key")
		return
	}
	writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
}

func (a *Acquirer) operations(w http.ResponseWriter, r *http.Request) {
	writeJSON(w, http.StatusOK, a.Operations(r.URL.Query().Get("payment")))
}

func (a *Acquirer) listFaults(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, a.faults.list())
}

func (a *Acquirer) addFault(w http.ResponseWriter, r *http.Request) {
	var f Fault
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&f)
	if err == nil {
		err = a.Fault(f)
	}
	if err != nil {
		writeJSON(w, http.StatusUnprocessableEntity, map[string]string{"code": "malformed", "message": err.Error()})
		return
	}
	writeJSON(w, http.StatusOK, a.faults.list())
}

func refuse(w http.ResponseWriter, status int, code string) {
	writeJSON(w, status, map[string]string{"code": code})
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // a reader that went away has nobody to be told
}
