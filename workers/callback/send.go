package callback

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"code.dny.dev/ssrf"

	"github.com/quittance/quittance/queue"
	"github.com/quittance/quittance/store"
)

const (
	dialTimeout   = 5 * time.Second
	answerTimeout = 2 * time.Second // for an answer's body: its status has said all that matters
	maxAnswer     = 16 << 10
	// idleTimeout is shorter than that of any server that is in use: one that hangs up while
	// the next callback is on its way makes an attempt fail. Node.js has 5 s.
	idleTimeout = 4 * time.Second
)

// sender calls partners.
//
// Which address a name stands for is decided when it is dialled, and only what was dialled is
// looked at: a name that was checked before may stand for another address by then. Nothing
// that would evade that is done: no redirect is followed, and no proxy is asked.
type sender struct {
	client  *http.Client
	timeout time.Duration
	agent   string
}

func newSender(cfg Config) *sender {
	guard := ssrf.New(ssrf.WithAnyPort(), ssrf.WithAllowedV4Prefixes(only(4, cfg.Allow)...), ssrf.WithAllowedV6Prefixes(only(6, cfg.Allow)...))
	dialer := &net.Dialer{Timeout: dialTimeout, Control: guard.Safe, Resolver: cfg.Resolver}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	transport := &http.Transport{
		DialContext:            dialer.DialContext,
		TLSHandshakeTimeout:    dialTimeout,
		DisableCompression:     true,
		MaxResponseHeaderBytes: 64 << 10,
		MaxIdleConns:           1024,
		MaxIdleConnsPerHost:    callsAtOnce,
		IdleConnTimeout:        idleTimeout,
		Protocols:              protocols,
	}
	refuse := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &sender{
		client:  &http.Client{Transport: transport, CheckRedirect: refuse},
		timeout: cfg.Timeout,
		agent:   "Quittance/" + cfg.Version,
	}
}

func only(version int, all []netip.Prefix) (some []netip.Prefix) {
	for _, p := range all {
		if p.Addr().Is4() == (version == 4) {
			some = append(some, p)
		}
	}
	return some
}

// send makes one attempt. Whatever the partner does is a result; an error is ours, and then
// nothing was sent. Who is told to stop hears the answer out.
func (s *sender) send(ctx context.Context, c store.Callback) (r store.CallbackResult, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.timeout)
	defer cancel()
	ctx, span := beginSpan(ctx, c)
	defer func() { endSpan(span, r, err) }()
	r = store.CallbackResult{Callback: c, StartedAt: time.Now()}
	body, err := bodyOf(c)
	if err != nil {
		return r, fmt.Errorf("callback %s: %w", c.ID, err)
	}
	request, err := s.request(ctx, c, body, r.StartedAt)
	if err != nil {
		r.Outcome, r.Reason = store.CallbackForbidden, err.Error()
		return r, nil
	}
	answer, err := s.client.Do(request)
	switch {
	case err == nil:
		r.Status, r.Answer = answer.StatusCode, read(answer, cancel)
		r.Outcome, r.Reason = judge(c.Policy, answer.StatusCode)
		r.Next = next(c, retryAfter(answer, time.Now()))
	case isOurs(err):
		return r, queue.Outage(fmt.Errorf("callback %s: %s", c.ID, plain(err)))
	default:
		r.Outcome, r.Reason = s.failureOf(err)
		r.Next = next(c, 0)
	}
	r.Duration = time.Since(r.StartedAt)
	return r, nil
}

// The URLs that nothing can be sent to. What is wrong with them does not get better.
var (
	errNoURL  = errors.New("the URL is not one of http or https")
	errNoPort = errors.New("the URL's port is none")
)

func (s *sender) request(ctx context.Context, c store.Callback, body []byte, at time.Time) (*http.Request, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.URL, bytes.NewReader(body))
	if err != nil || request.URL.Hostname() == "" || (request.URL.Scheme != "http" && request.URL.Scheme != "https") {
		return nil, errNoURL
	}
	if port := request.URL.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return nil, errNoPort
		}
	}
	id := c.Event.String()
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", s.agent)
	request.Header["webhook-id"] = []string{id} // in lower case, as the standard writes them
	request.Header["webhook-timestamp"] = []string{strconv.FormatInt(at.Unix(), 10)}
	request.Header["webhook-signature"] = []string{signature(c.Keys, id, at, body)}
	request.Header["webhook-attempt"] = []string{strconv.Itoa(c.Attempts + 1)}
	return request, nil
}

// read returns the beginning of an answer. The status has decided by then: a body that hangs,
// never ends or is cut short changes nothing, and must not take up room for longer than
// it is worth.
func read(answer *http.Response, cancel func()) []byte {
	defer answer.Body.Close()
	if answer.StatusCode < 200 {
		return nil // 101, which nobody asked for: what follows is no body, and no context ends it
	}
	enough := time.AfterFunc(answerTimeout, cancel)
	defer enough.Stop()
	body, _ := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	return body
}

// judge says what an answer counts as. The original took nothing but 200 for an answer.
func judge(policy store.CallbackPolicy, status int) (store.CallbackOutcome, string) {
	said := "answered " + strconv.Itoa(status)
	if text := http.StatusText(status); text != "" {
		said += " " + text
	}
	switch {
	case status == http.StatusOK, policy == store.PolicyStandard && status/100 == 2:
		return store.Delivered, ""
	case status == http.StatusGone:
		return store.CallbackGone, said
	case status/100 == 3:
		return store.CallbackRefused, said + ": redirects are not followed"
	case status/100 == 2:
		return store.CallbackRefused, said + ": only 200 counts"
	}
	return store.CallbackRefused, said
}

// isOurs says that this process, or its machine, has run out of something: no partner is to
// blame, and no attempt was made. EADDRNOTAVAIL is not among that: it is of one address only,
// such as one of IPv6 where the machine has none, and must not hold up all others.
func isOurs(err error) bool {
	var number syscall.Errno
	return errors.As(err, &number) && slices.Contains([]syscall.Errno{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM,
	}, number)
}

// failureOf says why there was no answer, in words that its client may read: nothing about
// our network, or about what a name stands for in it.
func (s *sender) failureOf(err error) (store.CallbackOutcome, string) {
	var lookup *net.DNSError
	var dial *net.OpError
	var network net.Error
	var number syscall.Errno
	isDial := errors.As(err, &dial) && dial.Op == "dial"
	switch {
	case errors.Is(err, ssrf.ErrProhibitedIP), errors.Is(err, ssrf.ErrProhibitedNetwork), errors.Is(err, ssrf.ErrInvalidHostPort):
		return store.CallbackForbidden, "its address is not one of the public internet"
	case errors.As(err, &lookup):
		return store.CallbackDNS, lookup.Name + ": " + lookupFailure(lookup)
	case isDial && dial.Timeout():
		return store.CallbackTimeout, fmt.Sprintf("no connection within %s", min(dialTimeout, s.timeout))
	case errors.Is(err, context.DeadlineExceeded):
		return store.CallbackTimeout, fmt.Sprintf("no answer within %s", s.timeout)
	case errors.As(err, &network) && network.Timeout() && strings.Contains(err.Error(), "TLS handshake timeout"):
		return store.CallbackTimeout, fmt.Sprintf("no TLS handshake within %s", dialTimeout)
	case errors.As(err, &number):
		return store.CallbackConnect, number.Error()
	case errors.Is(err, http.ErrSchemeMismatch), strings.Contains(err.Error(), "tls: "):
		return store.CallbackTLS, plain(err)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return store.CallbackConnect, "closed without an answer"
	}
	return store.CallbackConnect, plain(err)
}

// lookupFailure says why a name stands for nothing. The resolver's own words may have its
// address in them, and ours.
func lookupFailure(err *net.DNSError) string {
	switch {
	case err.IsNotFound:
		return "no such host"
	case err.IsTimeout:
		return "no answer in time"
	}
	return "it cannot be looked up now"
}

// plain is an error without the URL, which says nothing new and may hold a secret, without the
// addresses of both ends of a connection, and without the names of what we are made of.
func plain(err error) string {
	if outer, ok := errors.AsType[*url.Error](err); ok {
		err = outer.Err
	}
	if ends, ok := errors.AsType[*net.OpError](err); ok && ends.Source != nil {
		err = ends.Err
	}
	text := strings.ToValidUTF8(err.Error(), "")
	text = strings.TrimPrefix(strings.TrimPrefix(text, "net/http: HTTP/1.x transport connection broken: "), "net/http: ")
	return text[:min(len(text), 300)]
}

// retryAfter is what an overloaded partner asks for: a number of seconds, or a date. 0 where
// it does not, or not so that it can be read.
func retryAfter(answer *http.Response, now time.Time) time.Duration {
	if answer.StatusCode != http.StatusTooManyRequests && answer.StatusCode != http.StatusServiceUnavailable {
		return 0
	}
	said := strings.TrimSpace(answer.Header.Get("Retry-After"))
	if seconds, err := strconv.ParseUint(said, 10, 32); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if date, err := http.ParseTime(said); err == nil {
		return max(0, date.Sub(now))
	}
	return 0
}
