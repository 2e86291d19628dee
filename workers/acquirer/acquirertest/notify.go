package acquirertest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"sync"
	"time"
)

const (
	maxNotifying = 8    // at once
	maxToNotify  = 1000 // waiting; what comes on top is dropped: it is only a hint
)

// notifier tells callers that there is news.
type notifier struct {
	client  *http.Client
	queue   chan notification
	running sync.WaitGroup
}

type notification struct{ url, id string }

// newNotifier tells until ctx ends.
func newNotifier(ctx context.Context) *notifier {
	n := &notifier{
		client: &http.Client{
			Timeout:       5 * time.Second,
			Transport:     &http.Transport{DisableKeepAlives: true},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		queue: make(chan notification, maxToNotify),
	}
	for range maxNotifying {
		n.running.Go(func() { n.run(ctx) })
	}
	return n
}

// tell never waits.
func (n *notifier) tell(url, id string) {
	if url == "" {
		return
	}
	select {
	case n.queue <- notification{url, id}:
	default:
	}
}

func (n *notifier) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case one := <-n.queue:
			n.post(ctx, one)
		}
	}
}

// post makes one try: whoever does not hear of the news inquires.
func (n *notifier) post(ctx context.Context, one notification) {
	body, err := json.Marshal(map[string]string{"id": one.id})
	if err != nil {
		return
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, one.url, bytes.NewReader(body))
	if err != nil {
		return
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := n.client.Do(req)
	if err != nil {
		return
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<10))
	_ = resp.Body.Close()
}
