package fcmtest

import (
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// script is what tokens with a prefix are answered: n is the number behind the prefix, call
// the how manieth call for the token it is, where that counts.
type script struct {
	prefix string
	counts bool
	answer func(n, call int) answer
}

var scripts = []script{
	{prefix: "unreg-", answer: always(failure(http.StatusNotFound, "NOT_FOUND", "UNREGISTERED", "Requested entity was not found."))},
	{prefix: "badtok-", answer: always(failure(http.StatusBadRequest, "INVALID_ARGUMENT", "INVALID_ARGUMENT",
		"The registration token is not a valid FCM registration token"))},
	{prefix: "badarg-", answer: always(failure(http.StatusBadRequest, "INVALID_ARGUMENT", "INVALID_ARGUMENT",
		"Request contains an invalid argument."))},
	{prefix: "badpay-", answer: always(badPayload("Invalid value at 'message.android.ttl'"))},
	{prefix: "sender-", answer: always(failure(http.StatusForbidden, "PERMISSION_DENIED", "SENDER_ID_MISMATCH", "SenderId mismatch"))},
	{prefix: "apns-", answer: always(failure(http.StatusUnauthorized, "UNAUTHENTICATED", "THIRD_PARTY_AUTH_ERROR",
		"Auth error from APNS or Web Push Service"))},
	{prefix: "noauth-", answer: always(unauthenticated)},
	{prefix: "denied-", answer: always(permissionDenied)},
	{prefix: "nowhere-", answer: always(page(http.StatusNotFound))},
	{prefix: "quota-", answer: func(n, _ int) answer {
		return failure(http.StatusTooManyRequests, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", "Quota exceeded.").after(n)
	}},
	{prefix: "busy-", answer: always(failure(http.StatusTooManyRequests, "RESOURCE_EXHAUSTED", "", "Too many requests."))},
	{prefix: "unavail-", counts: true, answer: func(n, call int) answer {
		if call > n {
			return accepted
		}
		return unavailable
	}},
	{prefix: "later-", answer: func(n, _ int) answer { return unavailable.after(n) }},
	{prefix: "int-", answer: always(failure(http.StatusInternalServerError, "INTERNAL", "INTERNAL", "Internal error encountered."))},
	{prefix: "html502-", answer: always(page(http.StatusBadGateway))},
	{prefix: "slow-", answer: func(n, _ int) answer {
		slow := accepted
		slow.delay = time.Duration(n) * time.Millisecond
		return slow
	}},
	{prefix: "reset-", answer: always(answer{broken: resets})},
	{prefix: "cut-", answer: always(answer{status: http.StatusOK, broken: cuts})},
	{prefix: "garbage-", answer: always(answer{status: http.StatusOK, body: "no JSON"})},
	{prefix: "moved-", answer: always(answer{status: http.StatusFound, body: "moved"})},
}

// answer is what is written back.
type answer struct {
	status     int
	body       string
	html       bool
	retryAfter int // seconds; 0: not said
	delay      time.Duration
	broken     breakage
}

type breakage int

const (
	whole  breakage = iota
	resets          // the connection, before anything is written
	cuts            // the connection, in the middle of the body
)

var (
	accepted         = answer{status: http.StatusOK}
	unavailable      = failure(http.StatusServiceUnavailable, "UNAVAILABLE", "UNAVAILABLE", "The service is currently unavailable.")
	unauthenticated  = failure(http.StatusUnauthorized, "UNAUTHENTICATED", "", "Request had invalid authentication credentials.")
	permissionDenied = failure(http.StatusForbidden, "PERMISSION_DENIED", "",
		"Permission 'cloudmessaging.messages.create' denied on resource '//cloudresourcemanager.googleapis.com/projects/p'.")
)

func always(a answer) func(int, int) answer { return func(int, int) answer { return a } }

// failure is an error as Google writes it; fcm is the errorCode of its FcmError, "" for none.
func failure(status int, code, fcm, sentence string) answer {
	details := ""
	if fcm != "" {
		details = fmt.Sprintf(`,"details":[{"@type":"type.googleapis.com/google.firebase.fcm.v1.FcmError","errorCode":%q}]`, fcm)
	}
	return answer{status: status, body: fmt.Sprintf(`{"error":{"code":%d,"message":%q,"status":%q%s}}`, status, sentence, code, details)}
}

func badPayload(sentence string) answer {
	return answer{status: http.StatusBadRequest, body: fmt.Sprintf(
		`{"error":{"code":400,"message":%q,"status":"INVALID_ARGUMENT","details":[{"@type":"type.googleapis.com/google.rpc.BadRequest",`+
			`"fieldViolations":[{"field":"message","description":%q}]}]}}`, sentence, sentence)}
}

func page(status int) answer {
	return answer{status: status, html: true, body: fmt.Sprintf("<!DOCTYPE html><title>Error %d</title>", status)}
}

func (a answer) after(seconds int) answer {
	a.retryAfter = seconds
	return a
}

func (a answer) write(w http.ResponseWriter) {
	switch a.broken {
	case resets:
		hangUp(w)
		return
	case cuts:
		w.Header().Set("Content-Length", "100")
		w.WriteHeader(a.status)
		_, _ = io.WriteString(w, `{"name":`)
		_ = http.NewResponseController(w).Flush()
		hangUp(w)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	if a.html {
		w.Header().Set("Content-Type", "text/html; charset=UTF-8")
	}
	if a.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(a.retryAfter))
	}
	if a.status == http.StatusFound {
		w.Header().Set("Location", "/elsewhere")
	}
	w.WriteHeader(a.status)
	body := a.body
	if body == "" {
		body = fmt.Sprintf(`{"name":"projects/sandbox/messages/%d"}`, time.Now().UnixNano())
	}
	_, _ = io.WriteString(w, body) // a caller that went away has nobody to be told
}

// hangUp resets the connection.
func hangUp(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // HTTP/2, or a recorder: as near as can be
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// number reads the number that a token's rest begins with.
func number(rest string) int {
	digits, _, _ := strings.Cut(rest, "-")
	n, err := strconv.Atoi(digits)
	if err != nil || n < 0 || n > math.MaxInt32 {
		return 0
	}
	return n
}
