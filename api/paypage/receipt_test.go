package paypage

import (
	"bytes"
	"encoding/xml"
	"image/png"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/quittance/quittance/store"
)

func TestAReceiptIsShownOnceThePaymentIsFinished(t *testing.T) {
	t.Parallel()
	p := newPayer(t, nil)
	p.books.receipt.ID, p.books.receipt.Number, p.books.receipt.ReceiptID = store.NewPaymentID(), 2175, "E76EZFQFK2FE"
	path := receiptPath(p.books.receipt.ID, ".pdf")
	check(t, p.get(path), 404, []string{"There is nothing here"}, nil)

	p.books.receipt.Status = store.StatusFinished
	w := p.get(path)
	check(t, w, 200, []string{"%PDF E76EZFQFK2FE"}, nil)
	for header, want := range map[string]string{
		"Content-Type": "application/pdf", "Content-Disposition": `inline; filename="receipt-2175.pdf"`, "Cache-Control": "private, no-cache",
		"X-Content-Type-Options": "nosniff",
	} {
		if got := w.Header().Get(header); got != want {
			t.Errorf("%s is %q, want %q", header, got, want)
		}
	}
	known := httptest.NewRequest(http.MethodGet, path, nil)
	known.Header.Set("If-None-Match", w.Header().Get("ETag"))
	if again := p.send(known); again.Code != http.StatusNotModified || again.Body.Len() != 0 {
		t.Errorf("what the browser has is sent again: %d", again.Code)
	}

	p.language = "uk"
	check(t, p.get(receiptPath(p.books.receipt.ID, ".html")), 200, []string{"uk " + styleAddress}, nil)
}

func TestACodeShowsThePagesAddress(t *testing.T) {
	t.Parallel()
	p := newPayer(t, nil)
	path := "/api/qr/invoicer/" + p.books.invoice.ID.String()
	for accept, want := range map[string]string{
		"": "image/png", "*/*": "image/png", "image/png": "image/png", "image/svg+xml": "image/svg+xml", "image/svg+xml, image/png;q=0.5": "image/svg+xml",
		"image/svg+xml;q=0.4, image/*": "image/png", "image/avif,image/webp,image/svg+xml,image/*,*/*;q=0.8": "image/png", "text/html": "image/png",
		"IMAGE/SVG+XML": "image/svg+xml", "image/svg+xml;q=0": "image/png", ";;,q=": "image/png",
	} {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.Header.Set("Accept", accept)
		w := p.send(r)
		if got := w.Header().Get("Content-Type"); w.Code != 200 || got != want {
			t.Errorf("for %q: %d, %s, want %s", accept, w.Code, got, want)
		}
		if want == "image/png" {
			picture, err := png.Decode(bytes.NewReader(w.Body.Bytes()))
			if err != nil || picture.Bounds().Dx() != picture.Bounds().Dy() || picture.Bounds().Dx() < 200 {
				t.Errorf("the picture: %v", err)
			}
		} else if err := xml.Unmarshal(w.Body.Bytes(), new(struct{})); err != nil {
			t.Errorf("the drawing: %v", err)
		}
	}
}
