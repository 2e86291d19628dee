package queue

import (
	"errors"
	"fmt"
)

// Reject marks an error as permanent: the broker dead-letters the message, and it is
// not handled again.
func Reject(err error) error { return &rejection{orNone(err)} }

// Outage marks an error as somebody else's: something that the handler depends on is
// down. The message is kept and handled again once the consumer's probe succeeds; no
// delivery is used up.
func Outage(err error) error { return &outage{orNone(err)} }

// IsReject reports whether a handler that returned err has rejected its message. An
// error marked both ways is an outage: what is kept can still be rejected later.
func IsReject(err error) bool {
	_, rejected := errors.AsType[*rejection](err)
	return rejected && !IsOutage(err)
}

// IsOutage reports whether err was marked by Outage.
func IsOutage(err error) bool {
	_, down := errors.AsType[*outage](err)
	return down
}

type rejection struct{ err error }

func (r *rejection) Error() string { return r.err.Error() }
func (r *rejection) Unwrap() error { return r.err }

type outage struct{ err error }

func (o *outage) Error() string { return o.err.Error() }
func (o *outage) Unwrap() error { return o.err }

// orNone keeps Reject(nil) an error: nil would acknowledge the message.
func orNone(err error) error {
	if err == nil {
		return errors.New("no reason given")
	}
	return err
}

// fault is a handler that panicked or broke its contract. It says nothing about any
// one message, so all of the call are kept.
type fault struct{ what string }

func (f *fault) Error() string { return f.what }

func isFault(err error) bool {
	_, faulty := errors.AsType[*fault](err)
	return faulty
}

func panicked(value any) error {
	return &fault{fmt.Sprintf("handler panicked: %v", value)}
}

func miscounted(verdicts, messages int) error {
	return &fault{fmt.Sprintf("handler returned %d verdicts for %d messages", verdicts, messages)}
}
