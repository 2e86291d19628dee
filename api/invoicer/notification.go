package invoicer

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/quittance/quittance/api"
	"github.com/quittance/quittance/store"
)

// notified makes a call be inquired about at once: the acquirer has news of it. The news
// themselves come from the inquiry, never from here, so that anybody may say so.
func (h *handlers) notified(c *gin.Context) error {
	body, err := api.Body(c)
	members, wrong := api.ParseObject(body)
	if err != nil || wrong != "" {
		return badNotification(nil)
	}
	f := form{members: members, wrong: api.Problems{}}
	f.require("id")
	intent := id(f, "id", store.ParseIntentID)
	if len(f.wrong) > 0 {
		return badNotification(f.wrong)
	}
	if err := h.Books.InquireNow(c.Request.Context(), intent); err != nil {
		return err
	}
	c.Status(http.StatusNoContent)
	return nil
}

func badNotification(fields map[string]string) error {
	r := formatError(fields)
	r.Status = http.StatusBadRequest
	return &r
}
