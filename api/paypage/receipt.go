package paypage

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/quittance/quittance/store"
)

func receiptPath(id store.PaymentID, extension string) string {
	return "/api/acquiring/receipts/v2/" + id.String() + extension
}

// showReceipt shows the receipt of a finished payment, as PDF or as a page.
func (h *handlers) showReceipt(c *gin.Context) error {
	text, extension, _ := strings.Cut(c.Param("file"), ".")
	id, ok := store.ParsePaymentID(text)
	if !ok || extension != "pdf" && extension != "html" {
		return errNothingHere
	}
	r, err := h.Books.Receipt(c.Request.Context(), id)
	if err != nil {
		return err
	}
	if extension == "pdf" {
		return h.sendReceipt(c, r, "application/pdf", extension, h.PDF)
	}
	t := tongueOf(c.Request)
	c.Writer.Header().Add("Vary", "Accept-Language")
	c.Header("Content-Language", t.Code)
	return h.sendReceipt(c, r, "text/html; charset=utf-8", extension, func(r store.Receipt) ([]byte, error) {
		return h.HTML(r, t.Code, styleAddress)
	})
}

// sendReceipt sends a receipt that the browser may keep but must ask about: it changes when
// money is given back.
func (h *handlers) sendReceipt(c *gin.Context, r store.Receipt, kind, extension string, make func(store.Receipt) ([]byte, error)) error {
	document, err := make(r)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(document)
	tag := `"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`
	protect(c, "")
	c.Header("Cache-Control", "private, no-cache")
	c.Header("ETag", tag)
	c.Header("Content-Disposition", fmt.Sprintf(`inline; filename="receipt-%d.%s"`, r.Number, extension))
	if c.GetHeader("If-None-Match") == tag {
		c.Status(http.StatusNotModified)
		return nil
	}
	c.Data(http.StatusOK, kind, document)
	return nil
}
