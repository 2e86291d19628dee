package acquirer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Client is an Acquirer that is reached over HTTP. The package acquirertest describes the
// protocol.
type Client struct {
	base    string
	host    string
	key     string
	timeout time.Duration
	http    *http.Client
}

var _ Acquirer = (*Client)(nil)

// New returns a client of the acquirer at base, an http or https URL. Every call carries key
// as its bearer token, if there is one, and ends within timeout, whatever happens.
func New(base, key string, timeout time.Duration) (*Client, error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, errors.New("the acquirer's address is not an http or https URL")
	}
	if timeout <= 0 {
		return nil, errors.New("calls of the acquirer need a time limit")
	}
	transport := &http.Transport{ // no proxy: it would read the card numbers
		DialContext:         (&net.Dialer{Timeout: timeout}).DialContext,
		TLSHandshakeTimeout: timeout,
		// Each call dials: what is written to a connection that has idled can be lost, and
		// nobody can say then whether it was read.
		DisableKeepAlives: true,
		Protocols:         new(http.Protocols),
	}
	transport.Protocols.SetHTTP1(true) // one body, one connection
	return &Client{
		base:    strings.TrimRight(base, "/"),
		host:    u.Hostname(),
		key:     key,
		timeout: timeout,
		http: &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// Tokenise is POST /tokenise.
func (c *Client) Tokenise(ctx context.Context, id string, d Details) (Token, error) {
	var answered tokenAnswer
	err := c.post(ctx, "tokenise", id, tokeniseCall{
		ID: id, Number: d.Number, Expiry: d.Expiry, SecurityCode: d.SecurityCode, Token: d.Token,
	}, &answered)
	if err != nil {
		return Token{}, err
	}
	token, err := answered.understand(id, d)
	if err != nil {
		return Token{}, fmt.Errorf("tokenise %s: %w", id, err)
	}
	return token, nil
}

// Authorise is POST /authorise.
func (c *Client) Authorise(ctx context.Context, id string, a Authorisation) (Answer, error) {
	return c.move(ctx, "authorise", id, authoriseCall{
		ID: id, Payment: a.Payment, Amount: a.Amount.Minor, Currency: a.Amount.Currency, Token: a.Token, TokenTo: a.TokenTo,
		Commission: a.Commission, Capture: a.Capture, Unattended: a.Unattended, NotifyURL: a.NotifyURL,
	})
}

// Confirm is POST /confirm.
func (c *Client) Confirm(ctx context.Context, id string, f Confirmation) (Answer, error) {
	return c.move(ctx, "confirm", id, confirmCall{ID: id, Payment: f.Payment, Of: f.Of, Code: f.Code})
}

// Capture is POST /capture.
func (c *Client) Capture(ctx context.Context, id string, m Movement) (Answer, error) {
	return c.move(ctx, "capture", id, newMovementCall(id, m))
}

// Void is POST /void.
func (c *Client) Void(ctx context.Context, id string, m Movement) (Answer, error) {
	return c.move(ctx, "void", id, newMovementCall(id, m))
}

// Refund is POST /refund.
func (c *Client) Refund(ctx context.Context, id string, m Movement) (Answer, error) {
	return c.move(ctx, "refund", id, newMovementCall(id, m))
}

// Inquire is POST /inquire.
func (c *Client) Inquire(ctx context.Context, id string) (Answer, error) {
	return c.move(ctx, "inquire", id, inquireCall{ID: id})
}

// Ping is GET /health, with the key: while it is a wrong one, calls have nobody to go to.
func (c *Client) Ping(ctx context.Context) error {
	return c.exchange(ctx, http.MethodGet, "health", nil, nil)
}

func (c *Client) move(ctx context.Context, call, id string, body any) (Answer, error) {
	var answered wireAnswer
	if err := c.post(ctx, call, id, body, &answered); err != nil {
		return Answer{}, err
	}
	answer, err := answered.understand(call, id)
	if err != nil {
		return Answer{}, fmt.Errorf("%s %s: %w", call, id, err)
	}
	return answer, nil
}
