package callback

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/quittance/quittance/api"
	"github.com/quittance/quittance/store"
)

// shownEndpoint is an endpoint as its client sees it. Times are ISO 8601 with milliseconds, in
// UTC.
type shownEndpoint struct {
	ID             string   `json:"id"`
	Policy         string   `json:"policy"`
	URL            *string  `json:"url"` // null: each invoice has its own
	Origin         string   `json:"origin"`
	EventTypes     []string `json:"eventTypes"` // none: all of the client's own
	Description    string   `json:"description"`
	RateLimit      *int     `json:"rateLimit"` // callbacks a second; null: no limit
	Enabled        bool     `json:"enabled"`
	DisabledReason *string  `json:"disabledReason"`
	FailingSince   *string  `json:"failingSince"`
	Failures       int      `json:"failures"`
	Secret         string   `json:"secret,omitempty"` // only where it was just made
	OldSecretUntil *string  `json:"oldSecretUntil"`
	CreatedAt      string   `json:"createdAt"`
	UpdatedAt      string   `json:"updatedAt"`
}

func showEndpoint(e store.Endpoint) shownEndpoint {
	types := make([]string, len(e.EventTypes))
	for i, t := range e.EventTypes {
		types[i] = string(t)
	}
	return shownEndpoint{
		ID: e.ID.String(), Policy: string(e.Policy), URL: unlessZero(e.URL), Origin: e.Origin, EventTypes: types, Description: e.Description,
		RateLimit: unlessZero(e.RateLimit), Enabled: e.State == store.EndpointEnabled, DisabledReason: unlessZero(string(e.StateReason)),
		FailingSince: shownTime(e.FailingSince), Failures: e.Failures, Secret: e.Secret, OldSecretUntil: shownTime(e.OldSecretUntil),
		CreatedAt: api.Time(e.CreatedAt), UpdatedAt: api.Time(e.UpdatedAt),
	}
}

// unlessZero is null where there is nothing.
func unlessZero[T comparable](value T) *T {
	var zero T
	if value == zero {
		return nil
	}
	return &value
}

func shownTime(t *time.Time) *string {
	if t == nil {
		return nil
	}
	text := api.Time(*t)
	return &text
}

type shownEndpoints struct {
	Endpoints []shownEndpoint `json:"endpoints"`
	Count     int             `json:"count"`
}

func (h *handlers) listEndpoints(c *gin.Context, by store.Caller) error {
	problems := api.Problems{}
	page := api.Page(c, problems, store.ParseEndpointID)
	knownQuery(c, problems, "limit", "before")
	if err := invalid(problems); err != nil {
		return err
	}
	found, err := h.Books.Endpoints(c.Request.Context(), by.Client, page)
	if err != nil {
		return err
	}
	list := shownEndpoints{Endpoints: make([]shownEndpoint, len(found)), Count: len(found)}
	for i, e := range found {
		list.Endpoints[i] = showEndpoint(e)
	}
	api.Answer(c, http.StatusOK, api.Encode(list))
	return nil
}

// endpoint reads the id of a path. What cannot be one is an endpoint that nobody has.
func endpoint(c *gin.Context) (store.EndpointID, error) {
	id, ok := store.ParseEndpointID(c.Param("id"))
	if !ok {
		return id, store.ErrEndpointNotFound
	}
	return id, nil
}

func (h *handlers) showEndpoint(c *gin.Context, by store.Caller) error {
	id, err := endpoint(c)
	if err != nil {
		return err
	}
	e, err := h.Books.Endpoint(c.Request.Context(), by.Client, id)
	if err != nil {
		return err
	}
	api.Answer(c, http.StatusOK, api.Encode(showEndpoint(e)))
	return nil
}

// answerEndpoint is what a command on an endpoint is answered, now and at every repeat.
func answerEndpoint(status int) func(store.Endpoint) store.Answer {
	return func(e store.Endpoint) store.Answer {
		return store.Answer{Status: status, Body: api.Encode(showEndpoint(e))}
	}
}

// command is what the caller wants done to an endpoint.
func (h *handlers) command(c *gin.Context, by store.Caller, id store.EndpointID, text []byte, status int) (store.EndpointCommand, error) {
	key, err := once(c, by, text, store.Answer{})
	return store.EndpointCommand{ID: id, Client: by.Client, AllowHTTP: h.AllowHTTP, Answer: answerEndpoint(status), Once: key}, err
}

var settingNames = []string{"url", "eventTypes", "description", "rateLimit"}

// readSettings reads what is sent of an endpoint's settings; null takes a setting away, where
// an endpoint can be without.
func readSettings(o api.Object) (s store.EndpointSettings, p api.Problems) {
	p = api.Problems{}
	s.URL = readURL(p, o)
	s.EventTypes = readEventTypes(p, o)
	s.Description = readDescription(p, o)
	s.RateLimit = readRateLimit(p, o)
	s.Enabled = readEnabled(p, o)
	return s, p
}

func readURL(p api.Problems, o api.Object) *string {
	text, sent := o["url"]
	if !sent {
		return nil
	}
	var address string
	p.Check("url", string(text) != "null" && json.Unmarshal(text, &address) == nil, "must be a string")
	return &address
}

func readEventTypes(p api.Problems, o api.Object) *[]store.EventType {
	text, sent := o["eventTypes"]
	if !sent {
		return nil
	}
	types := []store.EventType{}
	p.Check("eventTypes", json.Unmarshal(text, &types) == nil, "must be a list of strings")
	return &types
}

func readDescription(p api.Problems, o api.Object) *string {
	var text api.Text
	o.Read("description", &text)
	p.Optional("description", text)
	if !text.Sent() && !text.Null() {
		return nil
	}
	return &text.Value
}

func readRateLimit(p api.Problems, o api.Object) *int {
	var n api.Integer
	o.Read("rateLimit", &n)
	p.Optional("rateLimit", n)
	p.Check("rateLimit", !n.Sent() || 0 < n.Value && n.Value <= maxInt32, "must be 1 to 10000 a second, or null")
	if !n.Sent() && !n.Null() {
		return nil
	}
	limit := int(n.Value)
	return &limit
}

const maxInt32 = 1<<31 - 1 // what the store is asked about; it allows less

func readEnabled(p api.Problems, o api.Object) *bool {
	switch text, sent := o["enabled"]; {
	case !sent:
		return nil
	default:
		enabled := string(text) == "true"
		p.Check("enabled", enabled || string(text) == "false", "must be true or false")
		return &enabled
	}
}

func (h *handlers) createEndpoint(c *gin.Context, by store.Caller) error {
	o, text, err := object(c, settingNames...)
	if err != nil {
		return err
	}
	settings, problems := readSettings(o)
	problems.Check("url", settings.URL != nil, "is required")
	if err := invalid(problems); err != nil {
		return err
	}
	command, err := h.command(c, by, store.NewEndpointID(), text, http.StatusCreated)
	if err != nil {
		return err
	}
	made, err := h.Books.CreateEndpoint(c.Request.Context(), by.Client, settings, command)
	if err != nil {
		return err
	}
	c.Header("Location", c.FullPath()+"/"+made.ID.String())
	return answer(c, command, made)
}

func answer(c *gin.Context, command store.EndpointCommand, e store.Endpoint) error {
	a := command.Answer(e)
	api.Answer(c, a.Status, a.Body)
	return nil
}

func (h *handlers) changeEndpoint(c *gin.Context, by store.Caller) error {
	id, err := endpoint(c)
	if err != nil {
		return err
	}
	o, text, err := object(c, append(settingNames, "enabled")...)
	if err != nil {
		return err
	}
	settings, problems := readSettings(o)
	problems.Check("body", len(o) > 0, "must have something to change")
	if err := invalid(problems); err != nil {
		return err
	}
	command, err := h.command(c, by, id, text, http.StatusOK)
	if err != nil {
		return err
	}
	changed, err := h.Books.ChangeEndpoint(c.Request.Context(), settings, command)
	if err != nil {
		return err
	}
	return answer(c, command, changed)
}

func (h *handlers) rotateSecret(c *gin.Context, by store.Caller) error {
	id, err := endpoint(c)
	if err != nil {
		return err
	}
	if err := nothingIn(c); err != nil {
		return err
	}
	command, err := h.command(c, by, id, nil, http.StatusOK)
	if err != nil {
		return err
	}
	rotated, err := h.Books.RotateSecret(c.Request.Context(), command)
	if err != nil {
		return err
	}
	return answer(c, command, rotated)
}

func (h *handlers) deleteEndpoint(c *gin.Context, by store.Caller) error {
	id, err := endpoint(c)
	if err != nil {
		return err
	}
	if err := h.Books.DeleteEndpoint(c.Request.Context(), store.EndpointCommand{ID: id, Client: by.Client}); err != nil {
		return err
	}
	api.Answer(c, http.StatusNoContent, nil)
	return nil
}

// tested names the event; the Operation-Id is the callback's.
type tested struct {
	EventID string `json:"eventId"`
}

func (h *handlers) testEndpoint(c *gin.Context, by store.Caller) error {
	id, err := endpoint(c)
	if err != nil {
		return err
	}
	if err := nothingIn(c); err != nil {
		return err
	}
	key, err := once(c, by, nil, store.Answer{})
	if err != nil {
		return err
	}
	answer, err := h.Books.TestEndpoint(c.Request.Context(), store.EndpointTest{
		ID: id, Client: by.Client, Once: key,
		Answer: func(event store.EventID) store.Answer { return accepted(tested{EventID: event.String()}) },
	})
	if err != nil {
		return err
	}
	return h.Waiter.Accepted(c, answer, http.StatusOK, notDelivered)
}

func accepted(body any) store.Answer {
	return store.Answer{Status: http.StatusAccepted, Body: api.Encode(body)}
}

// notDelivered answers whoever waited for a callback that ended. One that was given up can be
// replayed, and is shown by the log.
func notDelivered(o store.Operation) *api.Refusal {
	if o.Status == store.Dead {
		return nil
	}
	return &api.Refusal{Status: http.StatusConflict, Code: o.ErrorCode, Message: o.ErrorMessage}
}
