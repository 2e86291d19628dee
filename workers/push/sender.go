package push

import (
	"context"
	"fmt"
	"net/http"
	"time"

	firebase "firebase.google.com/go/v4"
	"firebase.google.com/go/v4/messaging"
	"golang.org/x/oauth2"
	"google.golang.org/api/option"
)

// atOnce is how many calls are under way at the same time.
const atOnce = 128

// Sender sends messages to single devices by way of FCM, each with one call.
type Sender struct {
	client    *messaging.Client
	transport *http.Transport
	patience  time.Duration
	Project   string
}

// NewSender returns the sender of a Config that is not off. It calls nobody.
func NewSender(ctx context.Context, c Config) (*Sender, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	s := &Sender{transport: newTransport(), patience: c.Patience}
	if s.patience == 0 {
		s.patience = 30 * time.Second
	}
	source, project, err := c.signIn(&http.Client{Transport: s.transport, Timeout: tokenTimeout})
	if err != nil {
		return nil, err
	}
	s.Project = project
	var base http.RoundTripper = s.transport
	if source != nil {
		base = &oauth2.Transport{Source: &marking{source: source}, Base: s.transport}
	}
	options := []option.ClientOption{option.WithHTTPClient(&http.Client{Transport: once{base}})}
	if endpoint := c.endpoint(); endpoint != "" {
		options = append(options, option.WithEndpoint(endpoint))
	}
	app, err := firebase.NewApp(ctx, &firebase.Config{ProjectID: project}, options...)
	if err != nil {
		return nil, fmt.Errorf("firebase: %w", err)
	}
	if s.client, err = app.Messaging(ctx); err != nil {
		return nil, fmt.Errorf("firebase: %w", err)
	}
	return s, nil
}

// Close gives up the connections that wait for calls.
func (s *Sender) Close() { s.transport.CloseIdleConnections() }

// Send makes one call. Its only error is that of a context that was cancelled: then nobody
// knows.
func (s *Sender) Send(ctx context.Context, m *messaging.Message) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	_, err := s.client.Send(ctx, m)
	return answerOf(err)
}

// Ping returns nil where FCM takes our credentials: it has a message tried out that goes to
// nobody. Who cannot be asked has not said so.
func (s *Sender) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	_, err := s.client.SendDryRun(ctx, &messaging.Message{Topic: "quittance-probe", Data: map[string]string{"action": "probe"}})
	answer, err := answerOf(err)
	if err == nil && (answer.Outcome == CredentialOutage || answer.Outcome == Again) {
		err = answer
	}
	return err
}
