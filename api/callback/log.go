package callback

import (
	"net/http"
	"slices"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"github.com/quittance/quittance/api"
	"github.com/quittance/quittance/store"
)

// shownCallback is a callback as its client sees it. Times are ISO 8601 with milliseconds, in
// UTC.
type shownCallback struct {
	ID            string  `json:"id"`
	EventID       string  `json:"eventId"` // the webhook-id
	Type          string  `json:"type"`
	Resource      string  `json:"resource"`
	EndpointID    string  `json:"endpointId"`
	Policy        string  `json:"policy"`
	URL           string  `json:"url"`
	Status        string  `json:"status"`
	Held          bool    `json:"held"`
	Replaying     bool    `json:"replaying"`
	Attempts      int     `json:"attempts"` // without replays
	Error         *reason `json:"error"`
	CreatedAt     string  `json:"createdAt"`
	NextAttemptAt *string `json:"nextAttemptAt"` // null: soon, or never
	FinishedAt    *string `json:"finishedAt"`
}

type reason struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

func showCallback(c store.CallbackRecord) shownCallback {
	shown := shownCallback{
		ID: c.ID.String(), EventID: c.Event.String(), Type: string(c.Type), Resource: uuid.UUID(c.Resource).String(),
		EndpointID: c.Endpoint.String(), Policy: string(c.Policy), URL: c.URL, Status: string(c.Status), Held: c.Held, Replaying: c.Replaying,
		Attempts: c.Attempts, CreatedAt: api.Time(c.CreatedAt), NextAttemptAt: shownTime(c.NextAt), FinishedAt: shownTime(c.FinishedAt),
	}
	if c.ErrorCode != "" {
		shown.Error = &reason{Code: c.ErrorCode, Message: c.ErrorMessage}
	}
	return shown
}

// shownAttempt is one attempt. What the receiver answered is shown as text.
type shownAttempt struct {
	StartedAt  string  `json:"startedAt"`
	Attempt    int     `json:"attempt"` // 0: a replay
	Outcome    string  `json:"outcome"`
	Status     *int    `json:"status"` // null: there was no answer
	Reason     *string `json:"reason"`
	Answer     string  `json:"answer"`
	DurationMS int64   `json:"durationMs"`
}

// shownStory is what one callback has beyond its line in the list. body is the event's exact
// text.
type shownStory struct {
	shownCallback
	Body    string         `json:"body"`
	History []shownAttempt `json:"history"`
}

func showStory(c store.CallbackStory) shownStory {
	shown := shownStory{shownCallback: showCallback(c.CallbackRecord), Body: string(c.Body), History: make([]shownAttempt, len(c.History))}
	for i, a := range c.History {
		shown.History[i] = shownAttempt{
			StartedAt: api.Time(a.StartedAt), Attempt: a.Attempt, Outcome: string(a.Outcome), Status: unlessZero(a.Status),
			Reason: unlessZero(a.Reason), Answer: string(a.Answer), DurationMS: a.Duration.Milliseconds(),
		}
	}
	return shown
}

type shownCallbacks struct {
	Callbacks []shownCallback `json:"callbacks"`
	Count     int             `json:"count"`
}

func (h *handlers) listCallbacks(c *gin.Context, by store.Caller) error {
	filter, problems := readFilter(c)
	if err := invalid(problems); err != nil {
		return err
	}
	filter.Client = by.Client
	found, err := h.Books.Callbacks(c.Request.Context(), filter)
	if err != nil {
		return err
	}
	list := shownCallbacks{Callbacks: make([]shownCallback, len(found)), Count: len(found)}
	for i, callback := range found {
		list.Callbacks[i] = showCallback(callback)
	}
	api.Answer(c, http.StatusOK, api.Encode(list))
	return nil
}

// filters are the ways to choose callbacks.
var filters = []string{"endpoint", "event", "resource", "type", "status", "held", "since", "until", "limit", "before"}

// knownQuery reports a parameter that is not known: a filter that was misspelt would show what
// nobody asked for.
func knownQuery(c *gin.Context, p api.Problems, known ...string) {
	for name := range c.Request.URL.Query() {
		p.Check(name, slices.Contains(known, name), "is not known")
	}
}

func readFilter(c *gin.Context) (f store.CallbackFilter, p api.Problems) {
	p = api.Problems{}
	knownQuery(c, p, filters...)
	f.Page = api.Page(c, p, store.ParseOperationID)
	f.Endpoint = query(c, p, "endpoint", "must be an endpoint's id", store.ParseEndpointID)
	f.Event = query(c, p, "event", "must be an event's id", store.ParseEventID)
	f.Resource = query(c, p, "resource", "must be the id of a payment, a recharge or an invoice", store.ParsePaymentID)
	f.Type = query(c, p, "type", "is no event type", store.ParseEventType)
	f.Status = query(c, p, "status", "must be accepted, running, succeeded, failed or dead", store.ParseStatus)
	f.Held = query(c, p, "held", "must be true", func(text string) (bool, bool) { return true, text == "true" })
	f.Since = query(c, p, "since", "must be a time, as 2026-11-21T20:00:00Z", readTime)
	f.Until = query(c, p, "until", "must be a time, as 2026-11-21T20:00:00Z", readTime)
	return f, p
}

// query reads one parameter; the zero value where it was not sent.
func query[T any](c *gin.Context, p api.Problems, name, wrong string, parse func(string) (T, bool)) (value T) {
	text, sent := c.GetQuery(name)
	if !sent {
		return value
	}
	value, ok := parse(text)
	p.Check(name, ok, wrong)
	return value
}

// readTime reads RFC 3339. Before 1970 there was nothing.
func readTime(text string) (time.Time, bool) {
	t, err := time.Parse(time.RFC3339, text)
	return t, err == nil && t.UnixMilli() >= 0
}

// callback reads the id of a path. What cannot be one is a callback that nobody has.
func callback(c *gin.Context) (store.OperationID, error) {
	id, ok := store.ParseOperationID(c.Param("id"))
	if !ok {
		return id, store.ErrCallbackNotFound
	}
	return id, nil
}

func (h *handlers) showCallback(c *gin.Context, by store.Caller) error {
	id, err := callback(c)
	if err != nil {
		return err
	}
	story, err := h.Books.Callback(c.Request.Context(), by.Client, id)
	if err != nil {
		return err
	}
	api.Answer(c, http.StatusOK, api.Encode(showStory(story)))
	return nil
}

// replayed names the callback, which is its operation as well.
type replayed struct {
	ID string `json:"id"`
}

func (h *handlers) replayCallback(c *gin.Context, by store.Caller) error {
	id, err := callback(c)
	if err != nil {
		return err
	}
	if err := nothingIn(c); err != nil {
		return err
	}
	key, err := once(c, by, nil, accepted(replayed{ID: id.String()}))
	if err != nil {
		return err
	}
	answer, err := h.Books.ReplayCallback(c.Request.Context(), store.CallbackReplay{ID: id, Client: by.Client, Once: key})
	if err != nil {
		return err
	}
	return h.Waiter.Accepted(c, answer, http.StatusOK, notDelivered)
}
