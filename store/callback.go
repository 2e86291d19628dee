package store

import "time"

// CallbackSend sends an event to an endpoint. The operation has the id of its callback.
const CallbackSend OperationType = "callback.send"

// CallbackPolicy is how an endpoint is told: what is sent, what counts as delivered, and when
// it is tried again.
type CallbackPolicy string

// The invoicer policy is the original's, for the callbackUrl of an invoice; the standard one is
// that of registered endpoints.
const (
	PolicyInvoicer CallbackPolicy = "invoicer"
	PolicyStandard CallbackPolicy = "standard"
)

// Callback is an event to be sent to an endpoint.
type Callback struct {
	Ref
	Event         EventID
	Type          EventType
	Body          []byte // the event's exact bytes, {"id":…,"type":…,"timestamp":…,"data":{…}}
	Policy        CallbackPolicy
	Endpoint      EndpointID
	Client        int64
	Origin        string // scheme://host:port: with the client, whose health it is
	URL           string
	Keys          [][]byte // that it is signed with, newest first
	SigningSecret string   // of the shop: what the token of the invoicer policy is signed with
	RateLimit     int      // callbacks a second; 0: none
	Attempts      int      // that were counted before this one
	Parks         int      // since the last attempt
	Replaying     bool     // the attempt is not counted
	CreatedAt     time.Time
}

// CallbackOutcome is how an attempt ended.
type CallbackOutcome string

// Delivered is success. Forbidden (an address that callbacks must not go to, or a URL that is
// none) ends the callback at once, Gone (410) disables a registered endpoint, holding what is
// for it, or ends what is for that invoice. After any other it is tried again.
const (
	Delivered         CallbackOutcome = "delivered"
	CallbackRefused   CallbackOutcome = "refused"    // an answer that does not count
	CallbackGone      CallbackOutcome = "gone"       // 410
	CallbackTimeout   CallbackOutcome = "timeout"    // no answer in time
	CallbackConnect   CallbackOutcome = "connection" // refused, reset, closed without an answer
	CallbackDNS       CallbackOutcome = "dns"
	CallbackTLS       CallbackOutcome = "tls"
	CallbackForbidden CallbackOutcome = "forbidden"
)

// CallbackResult is an attempt that was made.
type CallbackResult struct {
	Callback
	Outcome   CallbackOutcome
	Status    int    // of the answer; 0: there was none
	Reason    string // in plain words; "" where it was delivered
	Answer    []byte // the first 16 KiB of its body
	StartedAt time.Time
	Duration  time.Duration
	Next      *Delay // when it is tried again should it have failed; nil: the attempts are used up
}
