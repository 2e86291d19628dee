package api

import (
	"net/url"
	"strconv"

	"github.com/gin-gonic/gin"

	"github.com/quittance/quittance/store"
)

const (
	usualPage = 100
	maxPage   = 1000
)

// Page reads limit and before of a list. before is in the cursor's own form.
func Page[Cursor any](c *gin.Context, p Problems, parse func(string) (Cursor, bool)) store.Page[Cursor] {
	page := store.Page[Cursor]{Limit: usualPage}
	checkQuery(c, p)
	if text, ok := c.GetQuery("limit"); ok {
		n, valid := ParseID(text)
		p.Check("limit", valid && n <= maxPage, "must be an integer from 1 to 1000")
		page.Limit = int(n)
	}
	if text, ok := c.GetQuery("before"); ok {
		before, valid := parse(text)
		p.Check("before", valid, "must be what the list showed")
		page.Before = before
	}
	return page
}

// checkQuery reports a query that cannot be read, or in more than one way: a filter that was
// not understood would show what nobody asked for.
func checkQuery(c *gin.Context, p Problems) {
	query, err := url.ParseQuery(c.Request.URL.RawQuery)
	p.Check("query", err == nil, "cannot be read")
	for name, values := range query {
		p.Check(name, len(values) == 1, "is sent more than once")
	}
}

// ParseID reads an id, or a count, of a list.
func ParseID(text string) (int64, bool) {
	n, err := strconv.ParseInt(text, 10, 64)
	return n, err == nil && n > 0
}
