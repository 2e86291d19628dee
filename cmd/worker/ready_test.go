package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// The health check of the image is the program itself, in the environment of the one that runs.
func TestItAsksTheOneThatRuns(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		answer int
	}{
		{"it is ready", http.StatusOK},
		{"something is missing", http.StatusServiceUnavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			monitor := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/readyz" {
					t.Errorf("asked for %s", r.URL.Path)
				}
				w.WriteHeader(c.answer)
			}))
			defer monitor.Close()
			environ := map[string]string{
				"DATABASE_URL": "postgres://nobody@127.0.0.1:1/none", "AMQP_URL": "amqp://127.0.0.1:1/",
				"QUITTANCE_SECRET_KEY":          strings.Repeat("A", 43) + "=",
				"QUITTANCE_WORKER_MONITOR_ADDR": strings.TrimPrefix(monitor.URL, "http://"),
			}
			if err := ready(t.Context(), environ); (err == nil) != (c.answer == http.StatusOK) {
				t.Errorf("answered %d: %v", c.answer, err)
			}
		})
	}
}
