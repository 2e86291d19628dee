package main

import (
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"

	"github.com/quittance/quittance/api"
	"github.com/quittance/quittance/api/apitest"
)

var parameter = regexp.MustCompile(`:([a-zA-Z]+)`)

// A route that is not in the document is one that nobody knows of; one that is there alone
// is a promise that is not kept. HEAD is the twin of each GET, and said of all at once.
func TestTheDocumentHasEachRouteAndNoOther(t *testing.T) {
	t.Parallel()
	apis, err := publicAPIs(config{}, nil, nil, nil, tokeniser{})
	if err != nil {
		t.Fatal(err)
	}
	who := map[string]string{}
	for _, a := range apis {
		for _, r := range a.Routes {
			who[r.Method+" "+parameter.ReplaceAllString(r.Path, "{$1}")] = r.Who
		}
	}
	handler, err := api.New(api.Config{Log: slog.New(slog.DiscardHandler), Metrics: api.NewMetrics()}, apis...)
	if err != nil {
		t.Fatal(err)
	}
	documented := apitest.Operations(t)
	for _, r := range handler.(*gin.Engine).Routes() {
		route := r.Method + " " + parameter.ReplaceAllString(r.Path, "{$1}")
		description, there := documented[route]
		if r.Method != http.MethodHead && !there {
			t.Errorf("%s is not in the document", route)
		}
		if there && !strings.Contains(description, "**Who:** "+who[route]) {
			t.Errorf("%s: the document does not say who may call it: %s", route, who[route])
		}
		delete(documented, route)
	}
	for _, monitored := range []string{"GET /metrics", "GET /healthz", "GET /readyz"} { // which workers.Monitor serves
		if _, there := documented[monitored]; !there {
			t.Errorf("%s is not in the document", monitored)
		}
		delete(documented, monitored)
	}
	for route := range documented {
		t.Errorf("%s is in the document only", route)
	}
}
