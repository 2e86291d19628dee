package acquirertest

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Kind is what goes wrong with a call.
type Kind string

// Delay goes on with the call even if its caller has given up.
const (
	Delay                 Kind = "delay"
	Error500              Kind = "500"                    // nothing is done
	CutBefore             Kind = "cut_before"             // nothing is done
	CutAfter              Kind = "cut_after"              // done, and not answered
	DuplicateNotification Kind = "duplicate_notification" // the hint comes twice
)

var kinds = []Kind{Delay, Error500, CutBefore, CutAfter, DuplicateNotification}

const (
	maxFaults = 1000
	maxDelay  = 10 * time.Minute
)

// Fault makes calls fail that are still to come.
type Fault struct {
	Call    string // or "any"
	Kind    Kind
	Times   int           // how many calls; 0 is for one
	Delay   time.Duration // of Delay
	Payment string        // only calls about this payment; "" for any

	// For tests. A call of the kind Delay goes on when Until is closed, if there is one;
	// Struck, if there is one, is called when a call is struck.
	Until  <-chan struct{}
	Struck func()
}

type faultJSON struct {
	Call    string `json:"call"`
	Kind    Kind   `json:"fault"`
	Times   int    `json:"times"`
	Delay   string `json:"delay,omitempty"`
	Payment string `json:"payment,omitempty"`
}

// MarshalJSON is as GET /acquirer/faults shows it.
func (f Fault) MarshalJSON() ([]byte, error) {
	shown := faultJSON{f.Call, f.Kind, f.Times, "", f.Payment}
	if f.Delay > 0 {
		shown.Delay = f.Delay.String()
	}
	return json.Marshal(shown)
}

// UnmarshalJSON is as POST /acquirer/faults takes it.
func (f *Fault) UnmarshalJSON(text []byte) error {
	var given faultJSON
	if err := json.Unmarshal(text, &given); err != nil {
		return err
	}
	var delay time.Duration
	if given.Delay != "" {
		var err error
		if delay, err = time.ParseDuration(given.Delay); err != nil {
			return err
		}
	}
	*f = Fault{Call: given.Call, Kind: given.Kind, Times: given.Times, Delay: delay, Payment: given.Payment}
	return nil
}

func (f *Fault) check() error {
	switch {
	case f.Call != "any" && !slices.Contains(calls, f.Call):
		return fmt.Errorf("no call %q: one of %v, or any", f.Call, calls)
	case !slices.Contains(kinds, f.Kind):
		return fmt.Errorf("no fault %q: one of %v", f.Kind, kinds)
	case f.Times < 0:
		return fmt.Errorf("times %d is not a number of calls", f.Times)
	case f.Delay < 0 || f.Delay > maxDelay:
		return fmt.Errorf("delay %s is not from 0 to %s", f.Delay, maxDelay)
	}
	f.Times = max(1, f.Times)
	return nil
}

// faults are those to come, in the order in which they were asked for.
type faults struct {
	mu   sync.Mutex
	kept []Fault
}

func (s *faults) add(f Fault) error {
	if err := f.check(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.kept) >= maxFaults {
		return fmt.Errorf("there are %d faults to come already", maxFaults)
	}
	s.kept = append(s.kept, f)
	return nil
}

func (s *faults) list() []Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Fault{}, s.kept...)
}

func (s *faults) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept = nil
}

// next uses up the fault of a call, if one was asked for.
func (s *faults) next(call, payment string) Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.kept, func(f Fault) bool {
		return (f.Call == call || f.Call == "any") && (f.Payment == "" || f.Payment == payment)
	})
	if i < 0 {
		return Fault{}
	}
	f := s.kept[i]
	s.kept[i].Times--
	if s.kept[i].Times == 0 {
		s.kept = slices.Delete(s.kept, i, i+1)
	}
	return f
}

// strike does what a fault does before the call is done. false ends the call: the process
// does.
func (f Fault) strike(ctx context.Context) bool {
	if f.Struck != nil {
		f.Struck()
	}
	if f.Kind != Delay {
		return true
	}
	until := f.Until
	if until == nil {
		wait := time.NewTimer(f.Delay)
		defer wait.Stop()
		select {
		case <-wait.C:
			return true
		case <-ctx.Done():
			return false
		}
	}
	select {
	case <-until:
		return true
	case <-ctx.Done():
		return false
	}
}
