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
