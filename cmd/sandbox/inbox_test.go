package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestAnInboxKeepsWhatItIsSent(t *testing.T) {
	t.Parallel()
	h := newInbox()
	send := func(method, path, body string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
		return w
	}
	for n := range maxKept + 2 {
		send(http.MethodPost, "/inbox/shop", fmt.Sprint(n))
	}
	send(http.MethodPost, "/inbox/other", "x")

	var kept []message
	if err := json.Unmarshal(send(http.MethodGet, "/inbox/shop", "").Body.Bytes(), &kept); err != nil {
		t.Fatal(err)
	}
	if len(kept) != maxKept || kept[0].Body != "2" || kept[maxKept-1].Body != fmt.Sprint(maxKept+1) {
		t.Errorf("%d messages are kept, from %q to %q", len(kept), kept[0].Body, kept[len(kept)-1].Body)
	}
	if got := send(http.MethodGet, "/inbox/nobody", "").Body.String(); strings.TrimSpace(got) != "[]" {
		t.Errorf("an inbox that nobody wrote to shows %s", got)
	}
	if w := send(http.MethodPost, "/inbox/shop", strings.Repeat("x", maxBody+1)); w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("a message of more than 1 MiB: %d", w.Code)
	}
}

// Somebody who wants to see a callback fail writes into its URL how.
func TestAnInboxAnswersAsItsSenderAsks(t *testing.T) {
	t.Parallel()
	h := newInbox()
	send := func(query, id string) int {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodPost, "/inbox/shop"+query, strings.NewReader("x"))
		r.Header.Set("webhook-id", id)
		h.ServeHTTP(w, r)
		return w.Code
	}
	for _, story := range []struct {
		query, id string
		want      int
	}{
		{"", "a", 200},
		{"?status=204", "a", 204},
		{"?status=503&times=2", "b", 503},
		{"?status=503&times=2", "c", 503},
		{"?status=503&times=2", "b", 503},
		{"?status=503&times=2", "b", 200},
		{"?status=503&times=2", "c", 503},
		{"?status=410", "b", 410},
		{"?status=99", "b", 400},
		{"?status=x", "b", 400},
		{"?status=500&times=0", "b", 400},
	} {
		if got := send(story.query, story.id); got != story.want {
			t.Errorf("%s of %s is answered %d, want %d", story.query, story.id, got, story.want)
		}
	}
}
