// Package fcmtest is Firebase Cloud Messaging to test against: its HTTP v1, as far as a sender
// of messages to single devices meets it. The sandbox serves it; tests start one of their own.
//
// POST /v1/projects/{project}/messages:send answers by what the message's token begins with:
//
//	unreg-      404 UNREGISTERED: the app is gone from the device
//	badtok-     400 INVALID_ARGUMENT: not a registration token
//	badarg-     400 INVALID_ARGUMENT that does not say what is wrong
//	badpay-     400 without an FcmError: the payload is wrong
//	sender-     403 SENDER_ID_MISMATCH: the token is another project's
//	apns-       401 THIRD_PARTY_AUTH_ERROR: the project's own key for Apple, or for web push, is wrong
//	noauth-     401: the caller's credentials are not taken
//	denied-     403: the caller may not send
//	nowhere-    404 without an FcmError
//	quota-N-    429 QUOTA_EXCEEDED, with Retry-After N unless that is 0
//	busy-       429 without an FcmError
//	unavail-K-  503 K times, then accepted
//	later-N-    503 with Retry-After N
//	int-        500 INTERNAL
//	html502-    502 and a page of a proxy
//	slow-MS-    accepted after so many milliseconds
//	reset-      the connection is reset before anything is done
//	cut-        accepted, and the connection cut within the answer
//	garbage-    200 and no JSON
//	moved-      302 to elsewhere
//
// Any other token is accepted. Of a message without a token only a trial (validate_only) is
// taken.
//
// GET /fcm/messages is a JSON array, oldest first, one for each call: {"token", "status",
// "message"}, with status 0 where the call was not answered. DELETE forgets them.
//
// POST /token is the token endpoint of a fake service account.
package fcmtest

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"time"
)

// What is kept at most; the oldest make room.
const (
	maxKept    = 20_000
	maxMessage = 64 << 10 // bytes; the real one takes 4 KiB
)

// Message is one call that was made.
type Message struct {
	Token   string          `json:"token"`
	Status  int             `json:"status"` // that was answered; 0: none
	Message json.RawMessage `json:"message"`
}

// FCM takes messages for any project.
type FCM struct {
	mux *http.ServeMux

	mu         sync.Mutex
	kept       []Message
	calls      map[string]int // by token; of those that answer by their number only
	arrived    chan struct{}  // closed at the next arrival
	trouble    Trouble
	guarded    bool // calls need a token of the token endpoint
	tokenCalls int
}

// New returns one that anybody may call.
func New() *FCM {
	f := &FCM{mux: http.NewServeMux(), calls: make(map[string]int), arrived: make(chan struct{})}
	f.mux.HandleFunc("POST /v1/projects/{project}/{call}", f.send)
	f.mux.HandleFunc("GET /fcm/messages", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, f.Messages()) })
	f.mux.HandleFunc("DELETE /fcm/messages", func(http.ResponseWriter, *http.Request) { f.Clear() })
	f.mux.HandleFunc("POST /token", f.token)
	return f
}

// ServeHTTP implements http.Handler.
func (f *FCM) ServeHTTP(w http.ResponseWriter, r *http.Request) { f.mux.ServeHTTP(w, r) }

// Messages returns the calls that were made, oldest first.
func (f *FCM) Messages() []Message {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]Message{}, f.kept...)
}

// Calls returns those for one token.
func (f *FCM) Calls(token string) (calls []Message) {
	for _, m := range f.Messages() {
		if m.Token == token {
			calls = append(calls, m)
		}
	}
	return calls
}

// Clear forgets the calls.
func (f *FCM) Clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.kept = nil
}

// Arrived is closed when the next call has been recorded.
func (f *FCM) Arrived() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.arrived
}

// request is the body of a call.
type request struct {
	Trial   bool            `json:"validate_only"`
	Message json.RawMessage `json:"message"`
}

func (f *FCM) send(w http.ResponseWriter, r *http.Request) {
	if r.PathValue("call") != "messages:send" {
		http.NotFound(w, r)
		return
	}
	var sent request
	var to struct {
		Token, Topic string
	}
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxMessage)).Decode(&sent)
	if err == nil {
		err = json.Unmarshal(sent.Message, &to)
	}
	answer := f.decide(r, to.Token)
	if err != nil || (to.Token == "" && !sent.Trial) {
		answer = badPayload("Invalid JSON payload received.")
	}
	if answer.delay > 0 {
		pause := time.NewTimer(answer.delay)
		defer pause.Stop()
		select {
		case <-pause.C:
		case <-r.Context().Done(): // accepted all the same: the caller does not know
		}
	}
	f.record(Message{Token: to.Token, Status: answer.status, Message: sent.Message})
	answer.write(w)
}

// decide says how a call is answered.
func (f *FCM) decide(r *http.Request, token string) answer {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.trouble == Denied:
		return permissionDenied
	case f.trouble == Unauthenticated, f.guarded && r.Header.Get("Authorization") != "Bearer "+accessToken:
		return unauthenticated
	}
	for _, s := range scripts {
		rest, found := strings.CutPrefix(token, s.prefix)
		if !found {
			continue
		}
		if !s.counts {
			return s.answer(number(rest), 0)
		}
		f.calls[token]++
		return s.answer(number(rest), f.calls[token])
	}
	return accepted
}

func (f *FCM) record(m Message) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.kept) == maxKept {
		f.kept = append([]Message{}, f.kept[maxKept/10:]...)
	}
	f.kept = append(f.kept, m)
	close(f.arrived)
	f.arrived = make(chan struct{})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // a reader that went away has nobody to be told
}
