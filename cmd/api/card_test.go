package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/quittance/quittance/api/apitest"
	"github.com/quittance/quittance/store/storetest"
	"github.com/quittance/quittance/workers/acquirer/acquirertest"
)

// A card's number goes through the whole process to the acquirer. What is left of it here is
// the acquirer's token, encrypted, and a mask.
func TestACardGoesToTheAcquirerAndNowhereElse(t *testing.T) {
	t.Parallel()
	const number = "4000000000003220"
	theirs, err := acquirertest.New(acquirertest.Config{Key: "key"})
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	server := httptest.NewServer(theirs)
	defer server.Close()
	db := storetest.New(t)
	session := db.Session(db.Shop())
	address, stop, ended := start(t, db, map[string]string{"QUITTANCE_ACQUIRER_URL": server.URL + "/acquirer", "QUITTANCE_ACQUIRER_KEY": "key"})
	defer stop()

	body := `{"params":{"sessionId":"` + string(session) + `"},"data":{"pan":"` + number + `","expiresAt":"2099-12"}}`
	client := &http.Client{Transport: apitest.Transport(t, &http.Transport{DisableKeepAlives: true})}
	create := func(path, body string) (int, string) {
		for { // until it listens
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+address+path, strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			resp, err := client.Do(r)
			if err != nil {
				if t.Context().Err() != nil {
					t.Fatal(err)
				}
				continue
			}
			text, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if err != nil {
				t.Fatal(err)
			}
			return resp.StatusCode, string(text)
		}
	}
	if status, answer := create("/api/cards/create", body); status != http.StatusOK || !strings.HasPrefix(answer, `{"status":1,"data":{"id":"`) {
		t.Errorf("answered %d %s", status, answer)
	}
	if n := db.Count("SELECT count(*) FROM cards WHERE mask = '4000003220' AND expiry = '2099-12' AND brand = 'visa'"); n != 1 {
		t.Errorf("%d cards are stored, want 1", n)
	}
	for _, trace := range traces(t, db, number) {
		t.Errorf("the number is in %s", trace)
	}

	if err := theirs.Fault(acquirertest.Fault{Call: "tokenise", Kind: acquirertest.Error500}); err != nil {
		t.Fatal(err)
	}
	if status, answer := create("/api/cards/create", body); status != http.StatusServiceUnavailable || !strings.Contains(answer, `"UNAVAILABLE"`) {
		t.Errorf("while the acquirer is away: %d %s", status, answer)
	}
	if status, answer := create("/api/cards/create", body); status != http.StatusOK {
		t.Errorf("once it is back: %d %s", status, answer)
	}
	// Both APIs below /api keep their own words.
	if status, answer := create("/api/auth/token", `{}`); status != http.StatusUnauthorized || !strings.HasPrefix(answer, `{"error":"invalid_client"`) {
		t.Errorf("the API of tokens: %d %s", status, answer)
	}
	if status, answer := create("/api/auth/none", `{}`); status != http.StatusNotFound || strings.Contains(answer, `"status":0`) {
		t.Errorf("beside it: %d %s", status, answer)
	}
	if status, answer := create("/api/invoicer/none", `{}`); status != http.StatusNotFound || !strings.Contains(answer, `{"status":0,"error":{"code":"NOT_FOUND"`) {
		t.Errorf("beside the shops' calls: %d %s", status, answer)
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("the process ended with %v", err)
	}
	db.CheckInvariants()
}

// traces are the tables in which a text is.
func traces(t *testing.T, db *storetest.DB, text string) (found []string) {
	t.Helper()
	rows, err := db.Pool().Query(context.Background(), "SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public'")
	if err != nil {
		t.Fatal(err)
	}
	var tables []string
	for rows.Next() {
		var table string
		if err := rows.Scan(&table); err != nil {
			t.Fatal(err)
		}
		tables = append(tables, table)
	}
	if err := rows.Err(); err != nil || len(tables) < 10 {
		t.Fatalf("%d tables, %v", len(tables), err)
	}
	for _, table := range tables {
		sql := fmt.Sprintf("SELECT count(*) FROM %s r WHERE r::text LIKE $1 OR r::text LIKE $2", table)
		if db.Count(sql, "%"+text+"%", fmt.Sprintf("%%%x%%", text)) > 0 {
			found = append(found, table)
		}
	}
	return found
}
