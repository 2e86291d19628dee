package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// Somebody who has never seen the API opens its page, opens a call and makes it. What stands
// in the page's address changes nothing.
func TestSystemTheDocumentationInABrowser(t *testing.T) {
	t.Parallel()
	b := startBrowser(t)
	s := startShared(t)
	p := b.tab(t)
	p.open("http://" + s.api.addresses[0] + "/docs?url=https://elsewhere.example/openapi.yaml")
	for _, section := range []string{"Mobile", "Shops", "Recharge", "Tokens", "Operations", "Callback endpoints", "Payment page", "Acquirer", "Monitoring", "Webhooks"} {
		p.await("#docs", section)
	}
	p.shoot("closed")

	const call = "#operations-Mobile-addAccount"
	p.click("#operations-tag-Mobile")
	p.await(call, "/mobile-api/account/add")
	p.click(call + " .opblock-summary-control")
	p.await(call, "anybody, at a limited rate")
	p.do(chromedp.WaitVisible(chromedp.CSS(call + " .execute")))
	p.click(call + " .execute")
	const answer = call + " .live-responses-table .response"
	p.await(answer, `"sessionId"`)
	if said := p.text(answer); !strings.Contains(said, "201") || !strings.Contains(said, "x-request-id") {
		t.Errorf("the answer is shown as %s", said)
	}
	p.shoot("tried")
	if n := s.count("SELECT count(*) FROM accounts"); n != 1 {
		t.Errorf("%d accounts were made, want 1", n)
	}
	if asked := p.asked(); !slices.Equal(asked, []string{s.api.addresses[0]}) {
		t.Errorf("the page asked %v", asked)
	}
}
