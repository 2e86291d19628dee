package push

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"
)

// DefaultCredentials, in place of a file, are those of the machine: workload identity, or
// whatever GOOGLE_APPLICATION_CREDENTIALS names.
const DefaultCredentials = "default"

// scope is all that we ask for.
const scope = "https://www.googleapis.com/auth/firebase.messaging"

// Config says as whom to send, and where to.
type Config struct {
	Credentials string // the path of a service account's or workload identity's file, DefaultCredentials, or "": none
	Project     string // default: that of the credentials
	URL         string // in place of FCM's own; it may be called without credentials

	Patience time.Duration // before FCM is asked again whether it takes our credentials; default 30 s
}

// Off says that nothing can be sent.
func (c Config) Off() bool { return c.Credentials == "" && c.URL == "" }

// Check says what is wrong with it, without opening anything.
func (c Config) Check() error {
	if c.URL != "" {
		u, err := url.Parse(c.URL)
		if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
			return errors.New("QUITTANCE_FCM_URL: not an http or https URL")
		}
	}
	if c.Credentials == DefaultCredentials && c.Project == "" {
		return errors.New("QUITTANCE_FCM_PROJECT: default credentials do not say which")
	}
	return nil
}

// endpoint is "" for FCM's own.
func (c Config) endpoint() string {
	if c.URL == "" {
		return ""
	}
	return strings.TrimRight(c.URL, "/") + "/v1"
}

// signIn returns where access tokens come from, nil for none, and the project.
func (c Config) signIn(client *http.Client) (oauth2.TokenSource, string, error) {
	// The source gets tokens for as long as it lives, with this client.
	ctx := context.WithValue(context.Background(), oauth2.HTTPClient, client)
	switch c.Credentials {
	case "":
		return nil, firstOf(c.Project, "sandbox"), nil
	case DefaultCredentials:
		return &lazily{find: func() (oauth2.TokenSource, error) {
			found, err := google.FindDefaultCredentials(ctx, scope)
			if err != nil {
				return nil, err
			}
			return found.TokenSource, nil
		}}, c.Project, nil
	}
	read, err := readCredentials(ctx, c.Credentials)
	if err != nil {
		return nil, "", fmt.Errorf("QUITTANCE_FCM_CREDENTIALS: %w", err)
	}
	project := firstOf(c.Project, read.ProjectID)
	if project == "" {
		return nil, "", errors.New("QUITTANCE_FCM_PROJECT: the credentials do not say which")
	}
	return read.TokenSource, project, nil
}

// known are the kinds of credentials that a server may have.
var known = []google.CredentialsType{google.ServiceAccount, google.ExternalAccount, google.ImpersonatedServiceAccount}

func readCredentials(ctx context.Context, path string) (*google.Credentials, error) {
	file, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var is struct{ Type google.CredentialsType }
	if json.Unmarshal(file, &is) != nil {
		return nil, fmt.Errorf("%s is not JSON", path) // which may hold a key
	}
	for _, kind := range known {
		if is.Type == kind {
			return google.CredentialsFromJSONWithType(ctx, file, kind, scope)
		}
	}
	return nil, fmt.Errorf("%s holds credentials of the type %q, not one of %v", path, is.Type, known)
}

func firstOf(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

// credentialError says that there was no access token to send with.
type credentialError struct{ err error }

func (c *credentialError) Error() string { return "no access token: " + c.err.Error() }
func (c *credentialError) Unwrap() error { return c.err }

// marking marks the errors of a token source. Who waits while another asks it in vain has that
// answer as well: one after the other they would wait for longer than their calls may take.
type marking struct {
	source oauth2.TokenSource

	mu     sync.Mutex
	failed time.Time // when it last did
	err    error     // with which
}

func (m *marking) Token() (*oauth2.Token, error) {
	came := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.failed.After(came) {
		return nil, m.err
	}
	token, err := m.source.Token()
	if err != nil {
		m.failed, m.err = time.Now(), &credentialError{err}
		return nil, m.err
	}
	return token, nil
}

// lazily looks for its source until it has found it: a machine that does not yet know who it
// is must not keep the other workers from starting. It is asked by one at a time.
type lazily struct {
	find  func() (oauth2.TokenSource, error)
	found oauth2.TokenSource
}

func (l *lazily) Token() (_ *oauth2.Token, err error) {
	if l.found == nil {
		if l.found, err = l.find(); err != nil {
			return nil, err
		}
	}
	return l.found.Token()
}
