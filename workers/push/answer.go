package push

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"firebase.google.com/go/v4/errorutils"
	"firebase.google.com/go/v4/messaging"
)

// Outcome is what came of a call, as far as it matters for what to do next.
type Outcome string

// Sent is success. A dead token is never sent to again, a strike against a token is forgiven
// once. A payload that is refused is a bug of ours, and a fault in the project's configuration
// somebody else's: neither gets better by itself, and both end the one message. Without
// credentials nothing can be sent, and no message is to blame. For the quota's sake everything
// is to go slower. Again is any trouble that passes.
const (
	Sent             Outcome = "sent"
	DeadToken        Outcome = "dead_token"
	TokenStrike      Outcome = "token_strike"
	PayloadRefused   Outcome = "payload_refused"
	ConfigFault      Outcome = "config_fault"
	CredentialOutage Outcome = "credential_outage"
	QuotaExceeded    Outcome = "quota"
	Again            Outcome = "again"
)

var outcomes = []Outcome{Sent, DeadToken, TokenStrike, PayloadRefused, ConfigFault, CredentialOutage, QuotaExceeded, Again}

// Answer is what FCM said.
type Answer struct {
	Outcome Outcome
	Status  int           // of the answer; 0: there was none
	Reason  string        // in FCM's words, or the transport's; "" where it was sent
	Wait    time.Duration // before the next call for this message, at least; 0: as the ladder says
}

func (a Answer) Error() string { return fmt.Sprintf("%s: %s", a.Outcome, a.said()) }

// said is the answer without what we make of it.
func (a Answer) said() string {
	if a.Status == 0 {
		return a.Reason
	}
	return fmt.Sprintf("%d: %s", a.Status, a.Reason)
}

const (
	quotaWait = time.Minute // after a 429, at the least
	maxWait   = time.Hour   // that we wait because FCM says so
	maxReason = 500         // runes: a proxy answers with a page, and each probe logs it
)

// answerOf reads the SDK's error, as it came: what it tells about it, it tells only of that,
// and not of one that is wrapped.
func answerOf(err error) (Answer, error) {
	if errors.Is(err, context.Canceled) {
		return Answer{}, err
	}
	if err == nil {
		return Answer{Outcome: Sent, Status: http.StatusOK}, nil
	}
	a := Answer{Reason: cut(err.Error(), maxReason)}
	var header http.Header
	if resp := errorutils.HTTPResponse(err); resp != nil {
		header = resp.Header
		if header.Get(transportError) == "" {
			a.Status = resp.StatusCode
		}
	}
	a.Outcome = outcomeOf(err, a.Status)
	switch a.Outcome {
	case QuotaExceeded:
		a.Wait = max(retryAfter(header.Get("Retry-After")), quotaWait)
	case Again:
		a.Wait = retryAfter(header.Get(originalRetryAfter))
	}
	return a, nil
}

// outcomeOf asks in an order that matters: what FCM says of itself comes before what its
// status says.
func outcomeOf(err error, status int) Outcome {
	switch {
	case messaging.IsUnregistered(err), messaging.IsSenderIDMismatch(err):
		return DeadToken
	case messaging.IsInvalidArgument(err) && strings.Contains(strings.ToLower(err.Error()), "registration token"):
		return DeadToken
	case messaging.IsInvalidArgument(err):
		return TokenStrike
	case errorutils.IsInvalidArgument(err):
		return PayloadRefused
	case messaging.IsThirdPartyAuthError(err):
		return ConfigFault
	case errorutils.IsUnauthenticated(err), errorutils.IsPermissionDenied(err):
		return CredentialOutage
	case messaging.IsQuotaExceeded(err), errorutils.IsResourceExhausted(err):
		return QuotaExceeded
	case errorutils.IsNotFound(err): // not the token: there is no such project, or FCM is not there
		return ConfigFault
	case errorutils.IsUnavailable(err), errorutils.IsInternal(err), errorutils.IsDeadlineExceeded(err),
		errors.Is(err, context.DeadlineExceeded), status >= http.StatusInternalServerError:
		return Again
	}
	// Any other status below 500, and what the SDK itself finds wrong with a message.
	return PayloadRefused
}

// retryAfter reads the header, which is seconds or a date; 0 where it says nothing.
func retryAfter(header string) time.Duration {
	wait := time.Duration(0)
	if seconds, err := strconv.Atoi(header); err == nil {
		wait = time.Duration(min(seconds, int(maxWait.Seconds()))) * time.Second
	} else if at, err := http.ParseTime(header); err == nil {
		wait = time.Until(at)
	}
	return min(max(wait, 0), maxWait)
}
