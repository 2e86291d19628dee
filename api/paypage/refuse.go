package paypage

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/quittance/quittance/api"
	"github.com/quittance/quittance/store"
)

// pageOf is the page, by the key of its words, that a refusal is shown as.
var pageOf = map[string]string{
	codeNothing: "not_found", "malformed": "malformed", "too_large": "malformed", "method_not_allowed": "not_found",
	"too_many_requests": "too_many_requests", "unavailable": "unavailable", "overloaded": "unavailable", "uncertain": "uncertain",
}

// refuse shows a refusal as a page.
func (h *handlers) refuse(c *gin.Context, r api.Refusal) {
	t := tongueOf(c.Request)
	said, known := pageOf[r.Code]
	if !known {
		said = "internal"
	}
	v := view{Title: t.Words[said+"_title"], Notice: &notice{Kind: "failed", Text: t.Words[said+"_text"]}}
	if id, ok := store.ParseInvoiceNumber(c.Param("invoice")); ok && said != "not_found" {
		v.Notice.Links = []link{{Text: t.Words["to_invoice"], URL: invoicePath(id), Main: true}}
	}
	if err := h.tell(c, r.Status, v); err != nil {
		_ = c.Error(err) // for the log line
		c.String(http.StatusInternalServerError, "%s", r.Message)
	}
}
