package main

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"
)

const (
	maxKept = 1000    // messages of one inbox; the oldest make room
	maxBody = 1 << 20 // bytes of one message
)

// message is what was sent to an inbox.
type message struct {
	At      time.Time   `json:"at"`
	Status  int         `json:"status"` // that it was answered
	Headers http.Header `json:"headers"`
	Body    string      `json:"body"`
}

// inbox keeps what is sent to it, by name, for as long as the process lives.
type inbox struct {
	mu   sync.Mutex
	kept map[string][]message
}

func newInbox() http.Handler {
	b := &inbox{kept: make(map[string][]message)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, map[string]string{"status": "ok"}) })
	mux.HandleFunc("POST /inbox/{name}", b.take)
	mux.HandleFunc("GET /inbox/{name}", b.show)
	return mux
}

// take keeps a message. The sender's URL says how it is answered: ?status=503 always so, and
// with &times=2 only the first two with the same webhook-id.
func (b *inbox) take(w http.ResponseWriter, r *http.Request) {
	status, times, err := scripted(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	name := r.PathValue("name")
	if times > 0 && b.came(name, r.Header.Get("webhook-id")) >= times {
		status = http.StatusOK
	}
	all := append(b.kept[name], message{At: time.Now().UTC(), Status: status, Headers: r.Header, Body: string(body)})
	b.kept[name] = all[max(0, len(all)-maxKept):]
	w.WriteHeader(status)
}

// scripted reads how a sender wants to be answered.
func scripted(q url.Values) (status, times int, err error) {
	status = http.StatusOK
	if text := q.Get("status"); text != "" {
		if status, err = strconv.Atoi(text); err != nil || status < 200 || status > 599 {
			return 0, 0, errors.New("status is not one of 200 to 599")
		}
	}
	if text := q.Get("times"); text != "" {
		if times, err = strconv.Atoi(text); err != nil || times < 1 {
			return 0, 0, errors.New("times is not a number from 1")
		}
	}
	return status, times, nil
}

// came counts how often a message with this webhook-id is kept.
func (b *inbox) came(name, id string) (n int) {
	for _, m := range b.kept[name] {
		if m.Headers.Get("webhook-id") == id {
			n++
		}
	}
	return n
}

// show answers with the messages, oldest first.
func (b *inbox) show(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	writeJSON(w, append([]message{}, b.kept[r.PathValue("name")]...))
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // a reader that went away has nobody to be told
}
