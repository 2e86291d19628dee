package operation

import (
	"context"
	"io"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/quittance/quittance/api"
	"github.com/quittance/quittance/api/apitest"
	"github.com/quittance/quittance/store"
)

// one operation is all there is.
type one store.Operation

func (o one) Operation(_ context.Context, id store.OperationID) (store.Operation, error) {
	if id != o.ID {
		return store.Operation{}, store.ErrOperationNotFound
	}
	return store.Operation(o), nil
}

func ask(t *testing.T, o store.Operation, id string) *httptest.ResponseRecorder {
	t.Helper()
	handler, err := api.New(api.Config{Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Metrics: api.NewMetrics()}, New(one(o), nil))
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	apitest.Checked(t, handler).ServeHTTP(w, httptest.NewRequest("GET", "/operations/"+id, nil))
	return w
}

func TestAnOperationSaysWhereItsResourceIs(t *testing.T) {
	t.Parallel()
	resource := store.NewRechargeID()
	for kind, at := range map[store.OperationType]string{
		store.InvoicePay:       "/mobile-api/invoice/info/",
		store.RechargeCommit:   "/v3/rechargeProviders/external/payments/",
		store.RechargeRollback: "/v3/rechargeProviders/external/payments/",
		store.RechargeExpire:   "/v3/rechargeProviders/external/payments/",
		store.RechargeLate:     "/v3/rechargeProviders/external/payments/",
		store.PaymentAuthorise: "",
	} {
		o := store.Operation{ID: store.NewOperationID(), Type: kind, Resource: resource, Provider: "external", Status: store.Accepted}
		w := ask(t, o, o.ID.String())
		if want := `"resource":"` + at + resource.String() + `"`; w.Code != 200 || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d %s, want %s", kind, w.Code, w.Body, want)
		}
	}
}

func TestAnOperationIsShown(t *testing.T) {
	t.Parallel()
	ended := time.UnixMilli(1637486683122)
	o := store.Operation{
		ID: store.NewOperationID(), Type: store.InvoicePay, Resource: store.NewRechargeID(), Status: store.Failed, Attempts: 1,
		ErrorCode: "insufficient_funds", ErrorMessage: "no", CreatedAt: ended.Add(-time.Second), FinishedAt: &ended,
	}
	body := ask(t, o, o.ID.String()).Body.String()
	for _, want := range []string{`"error":{"code":"insufficient_funds","message":"no"}`, `"createdAt":"2021-11-21T09:24:42.122Z"`, `"finishedAt":"2021-11-21T09:24:43.122Z"`} {
		if !strings.Contains(body, want) {
			t.Errorf("%s does not have %s", body, want)
		}
	}
	for _, id := range []string{"1", store.NewOperationID().String()} {
		if w := ask(t, o, id); w.Code != 404 {
			t.Errorf("%s: %d %s", id, w.Code, w.Body)
		}
	}
}
