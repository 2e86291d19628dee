package main

import (
	"encoding/json"
	"io"
	"net/http"
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

func (b *inbox) take(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	name := r.PathValue("name")
	all := append(b.kept[name], message{At: time.Now().UTC(), Headers: r.Header, Body: string(body)})
	b.kept[name] = all[max(0, len(all)-maxKept):]
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
