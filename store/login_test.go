package store_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/storetest"
)

// office is a database with a client, and with alice and bob, who log in by way of it.
type office struct {
	*storetest.DB
	t  *testing.T
	by store.Credentials
}

func newOffice(t *testing.T) *office {
	t.Helper()
	return furnish(t, storetest.New(t))
}

func furnish(t *testing.T, db *storetest.DB) *office {
	t.Helper()
	o := &office{DB: db, t: t, by: store.Credentials{ClientID: "office", Secret: "the office's", Address: "192.0.2.1"}}
	o.client(store.NewClient{ClientID: "office", Secret: o.by.Secret, Scopes: []string{"credit", "other"}, Rights: []string{"manage_payments"}})
	o.user(store.NewUser{Name: "alice", Card: "04A2B1C3", PIN: "1234", Password: "alice's password", Rights: []string{"manage_payments"}})
	o.user(store.NewUser{Name: "bob", PIN: "4321"})
	return o
}

func (o *office) client(n store.NewClient) {
	o.t.Helper()
	if _, err := o.AddClient(o.t.Context(), n); err != nil {
		o.t.Fatal(err)
	}
}

func (o *office) user(n store.NewUser) {
	o.t.Helper()
	if err := o.AddUser(o.t.Context(), n); err != nil {
		o.t.Fatal(err)
	}
}

func (o *office) logIn(l store.Login) error {
	_, err := o.LoginTokens(o.t.Context(), o.by, l, nil)
	return err
}

// fails logs in n times, and is refused each time.
func (o *office) fails(n int, l store.Login) {
	o.t.Helper()
	for i := range n {
		if err := o.logIn(l); !errors.Is(err, store.ErrLoginRefused) {
			o.t.Fatalf("failure %d: %v, want it refused", i+1, err)
		}
	}
}

// locked says that an error is a lock, and for about how long.
func locked(err error, at least) bool {
	var l *store.Locked
	return errors.As(err, &l) && l.For > time.Duration(at) && l.For <= 15*time.Minute
}

type least time.Duration

const aQuarter = least(14 * time.Minute)

var (
	alice   = store.Login{Type: store.LoginPassword, Name: "alice", Password: "alice's password"}
	mallory = store.Login{Type: store.LoginPassword, Name: "alice", Password: "a guess"}
)

func TestALoginNamesItsUser(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	for _, story := range []struct {
		name  string
		login store.Login
		right bool
	}{
		{"a card", store.Login{Type: store.LoginCard, Card: "04A2B1C3"}, true},
		{"an unknown card", store.Login{Type: store.LoginCard, Card: "04a2b1c3"}, false},
		{"a PIN", store.Login{Type: store.LoginPIN, PIN: "1234"}, true},
		{"an unknown PIN", store.Login{Type: store.LoginPIN, PIN: "1235"}, false},
		{"a card that is somebody's PIN", store.Login{Type: store.LoginCard, Card: "1234"}, false},
		{"a name and its password", alice, true},
		{"another's password", mallory, false},
		{"an unknown name", store.Login{Type: store.LoginPassword, Name: "carol", Password: "alice's password"}, false},
		{"a name without a password", store.Login{Type: store.LoginPassword, Name: "bob", Password: ""}, false},
		{"a card and its PIN", store.Login{Type: store.LoginCardPIN, Card: "04A2B1C3", PIN: "1234"}, true},
		{"a card and another's PIN", store.Login{Type: store.LoginCardPIN, Card: "04A2B1C3", PIN: "4321"}, false},
		{"a card and its password", store.Login{Type: store.LoginCardPassword, Card: "04A2B1C3", Password: "alice's password"}, true},
		{"an unknown card and a password", store.Login{Type: store.LoginCardPassword, Card: "0", Password: "alice's password"}, false},
	} {
		tokens, err := o.LoginTokens(t.Context(), o.by, story.login, nil)
		if !story.right {
			if !errors.Is(err, store.ErrLoginRefused) {
				t.Errorf("%s: %v, want it refused", story.name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", story.name, err)
			continue
		}
		if caller, err := o.Authorize(t.Context(), tokens.Access); err != nil || caller.User != 1 {
			t.Errorf("%s: logged in as user %d, %v; want alice", story.name, caller.User, err)
		}
	}
}

// Two processes, and everybody at once.
func TestParallelGuessesAreNoMoreThanTen(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	processes := []*store.Store{o.Store, storetest.Open(t, o.URL)}
	const guesses = 40
	ends := make(chan error, guesses)
	var guessing sync.WaitGroup
	for i := range guesses {
		guessing.Go(func() {
			by := o.by
			by.Address = fmt.Sprintf("192.0.2.%d", i)
			_, err := processes[i%2].LoginTokens(t.Context(), by, mallory, nil)
			ends <- err
		})
	}
	guessing.Wait()
	close(ends)
	looked := 0
	for err := range ends {
		switch {
		case errors.Is(err, store.ErrLoginRefused):
			looked++
		case !locked(err, aQuarter):
			t.Errorf("a guess: %v", err)
		}
	}
	if looked != 10 {
		t.Errorf("%d guesses were looked at, want 10", looked)
	}

	if err := o.logIn(alice); !locked(err, aQuarter) {
		t.Errorf("the right password: %v, want it locked", err)
	}
	if err := o.logIn(store.Login{Type: store.LoginCardPIN, Card: "04A2B1C3", PIN: "1234"}); !locked(err, aQuarter) {
		t.Errorf("the same user by her card: %v, want her locked", err)
	}
	if err := o.logIn(store.Login{Type: store.LoginPIN, PIN: "4321"}); err != nil {
		t.Errorf("another user: %v", err)
	}

	o.Exec("UPDATE login_attempts SET locked_until = now() - interval '1 second'")
	if err := o.logIn(alice); err != nil {
		t.Errorf("the right password, after the lock: %v", err)
	}
	if n := o.Count("SELECT count(*) FROM login_attempts"); n != 1 { // the PIN's
		t.Errorf("%d rows of failures are left, want 1", n)
	}
}

func TestTheLockEndsWithTenNewTries(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.fails(10, mallory)
	if err := o.logIn(mallory); !locked(err, aQuarter) {
		t.Errorf("an eleventh: %v", err)
	}
	o.Exec("UPDATE login_attempts SET locked_until = now() - interval '1 second'")
	o.fails(10, mallory)
	if err := o.logIn(alice); !locked(err, aQuarter) {
		t.Errorf("an eleventh after the lock: %v", err)
	}
}

func TestTryingDoesNotProlongALock(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.fails(10, mallory)
	o.Exec("UPDATE login_attempts SET locked_until = now() + interval '30 seconds'")
	for range 3 {
		var l *store.Locked
		if err := o.logIn(alice); !errors.As(err, &l) || l.For > 30*time.Second {
			t.Errorf("%v, want it locked for half a minute", err)
		}
	}
}

func TestAStrangerIsCountedAndLockedLikeAUser(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	for _, stranger := range []store.Login{
		{Type: store.LoginPassword, Name: "carol", Password: "a guess"},
		{Type: store.LoginCardPIN, Card: "0", PIN: "1234"},
	} {
		o.fails(10, stranger)
		if err := o.logIn(stranger); !locked(err, aQuarter) {
			t.Errorf("%+v: %v, want it locked", stranger, err)
		}
	}
	if n := o.Count("SELECT count(*) FROM login_attempts WHERE subject LIKE '%carol%'"); n != 0 {
		t.Error("what a stranger typed is kept: it may be a password")
	}
}

func TestFailuresAreForgottenAfterAQuietQuarterOfAnHour(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.fails(9, mallory)
	o.Exec("UPDATE login_attempts SET last_failed_at = now() - interval '14 minutes'")
	o.fails(1, mallory)
	if err := o.logIn(mallory); !locked(err, aQuarter) {
		t.Errorf("the eleventh within a quarter: %v", err)
	}

	p := newOffice(t)
	p.fails(9, mallory)
	p.Exec("UPDATE login_attempts SET last_failed_at = now() - interval '15 minutes'")
	p.fails(9, mallory)
	if err := p.logIn(alice); err != nil {
		t.Errorf("after 9 failures, a quiet quarter and 9 more: %v", err)
	}
}

func TestASuccessForgetsTheFailuresOfAUser(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	for range 2 {
		o.fails(9, mallory)
		if err := o.logIn(alice); err != nil {
			t.Fatal(err)
		}
	}
}

// Whoever has a PIN may not guess those of others for ever.
func TestAGoodPINDoesNotMakeBadOnesGood(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	good, bad := store.Login{Type: store.LoginPIN, PIN: "4321"}, store.Login{Type: store.LoginPIN, PIN: "0000"}
	for range 9 {
		o.fails(1, bad)
		if err := o.logIn(good); err != nil {
			t.Fatalf("a good PIN: %v", err)
		}
	}
	o.fails(1, store.Login{Type: store.LoginCard, Card: "no card"})
	if err := o.logIn(good); !locked(err, aQuarter) {
		t.Errorf("a good PIN after ten bad ones: %v, want the client locked", err)
	}
	if err := o.logIn(alice); err != nil {
		t.Errorf("who has a name: %v", err)
	}

	other := o.by
	other.ClientID = "terminal"
	o.client(store.NewClient{ClientID: "terminal", Secret: o.by.Secret})
	if _, err := o.LoginTokens(t.Context(), other, good, nil); err != nil {
		t.Errorf("the good PIN by another client: %v", err)
	}
}

func TestManyWhoAreRightAtOnceAreNotLockedOut(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	var arriving sync.WaitGroup
	for range 30 {
		arriving.Go(func() {
			if err := o.logIn(store.Login{Type: store.LoginPIN, PIN: "4321"}); err != nil {
				t.Error(err)
			}
		})
	}
	arriving.Wait()
	if n := o.Count("SELECT failures FROM login_attempts WHERE subject LIKE 'cards and PINs%'"); n != 0 {
		t.Errorf("%d failures are counted", n)
	}
}

func TestAClientIsLockedOnlyWhereItFails(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	thief := o.by
	thief.Secret, thief.Address = "a guess", "198.51.100.1"
	stranger := thief
	stranger.ClientID = "nobody"
	for _, by := range []store.Credentials{thief, stranger} {
		for i := range 11 {
			_, err := o.ClientTokens(t.Context(), by, nil)
			if i < 10 && !errors.Is(err, store.ErrClientRefused) || i == 10 && !locked(err, aQuarter) {
				t.Errorf("%s, guess %d: %v", by.ClientID, i+1, err)
			}
		}
	}
	right := o.by
	right.Address = thief.Address
	if _, err := o.ClientTokens(t.Context(), right, nil); !locked(err, aQuarter) {
		t.Errorf("the right secret from where was guessed: %v, want it locked", err)
	}
	if _, err := o.ClientTokens(t.Context(), o.by, nil); err != nil {
		t.Errorf("the right secret from elsewhere: %v", err)
	}
}

// The count is committed before the secret is looked at, so whatever happens then is a
// failure.
func TestWhoHangsUpHasFailed(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.Exec("UPDATE users SET password_hash = 'damaged' WHERE name = 'alice'") // looking ends in an error
	if err := o.logIn(alice); err == nil || errors.Is(err, store.ErrLoginRefused) {
		t.Errorf("a damaged hash: %v", err)
	}
	if n := o.Count("SELECT failures FROM login_attempts WHERE subject = 'user 1'"); n != 1 {
		t.Errorf("%d failures are counted, want 1", n)
	}
}
