package store_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/storetest"
)

// tokens issues tokens to the office, for nobody who is logged in.
func (o *office) tokens(scopes ...string) store.Tokens {
	o.t.Helper()
	t, err := o.ClientTokens(o.t.Context(), o.by, scopes)
	if err != nil {
		o.t.Fatal(err)
	}
	return t
}

func (o *office) refresh(t store.Tokens, scopes ...string) (store.Tokens, error) {
	return o.RefreshTokens(o.t.Context(), o.by, t.Refresh, scopes)
}

// valid says whether an access token is good, as a process finds that remembers nothing.
func (o *office) valid(t store.Tokens) bool {
	o.t.Helper()
	_, err := storetest.Open(o.t, o.URL).Authorize(o.t.Context(), t.Access)
	if err != nil && !errors.Is(err, store.ErrTokenInvalid) {
		o.t.Error(err)
	}
	return err == nil
}

// ended checks that nothing is left of a grant.
func (o *office) ended(why string, grant ...store.Tokens) {
	o.t.Helper()
	for i, t := range grant {
		if o.valid(t) {
			o.t.Errorf("%s: access token %d lives", why, i)
		}
		if _, err := o.refresh(t); !errors.Is(err, store.ErrRefreshRefused) {
			o.t.Errorf("%s: refresh token %d: %v, want it refused", why, i, err)
		}
	}
}

func TestATokenStandsForItsCaller(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	bob, err := o.LoginTokens(t.Context(), o.by, store.Login{Type: store.LoginPIN, PIN: "4321"}, []string{"credit"})
	if err != nil {
		t.Fatal(err)
	}
	for _, story := range []struct {
		name   string
		tokens store.Tokens
		want   store.Caller
	}{
		{"a client has all its scopes", o.tokens(), store.Caller{Client: 1, Scopes: []string{"credit", "other"}, Rights: []string{"manage_payments"}}},
		{"scopes are granted as far as the client has them", o.tokens("nonsense", "credit", "credit"), store.Caller{Client: 1, Scopes: []string{"credit"}, Rights: []string{"manage_payments"}}},
		{"none may be left", o.tokens("nonsense"), store.Caller{Client: 1, Scopes: []string{}, Rights: []string{"manage_payments"}}},
		{"who is logged in has his own rights", bob, store.Caller{Client: 1, User: 2, Scopes: []string{"credit"}, Rights: []string{}}},
	} {
		caller, err := o.Authorize(t.Context(), story.tokens.Access)
		if err != nil {
			t.Errorf("%s: %v", story.name, err)
		}
		if diff := cmp.Diff(story.want, caller); diff != "" {
			t.Errorf("%s: -want +got\n%s", story.name, diff)
		}
		if diff := cmp.Diff(caller.Scopes, story.tokens.Scopes); diff != "" {
			t.Errorf("%s: the client is told other scopes: %s", story.name, diff)
		}
		if story.tokens.ExpiresIn != 30*time.Minute || len(story.tokens.Access) != 43 || len(story.tokens.Refresh) != 43 {
			t.Errorf("%s: %s, %d and %d characters", story.name, story.tokens.ExpiresIn, len(story.tokens.Access), len(story.tokens.Refresh))
		}
		if _, err := o.Authorize(t.Context(), story.tokens.Refresh); !errors.Is(err, store.ErrTokenInvalid) {
			t.Errorf("%s: a refresh token opens the door: %v", story.name, err)
		}
	}
	if n := o.Count("SELECT count(*) FROM tokens WHERE hash = ANY($1)", [][]byte{[]byte(bob.Access), []byte(bob.Refresh)}); n != 0 {
		t.Error("a token is kept as it is")
	}
}

func TestATokenExpires(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	tokens := o.tokens()
	if n := o.Count("SELECT count(*) FROM tokens WHERE expires_at - created_at = CASE kind WHEN 'access' THEN interval '30 minutes' ELSE interval '30 days' END"); n != 2 {
		t.Errorf("%d of two tokens live as long as they should", n)
	}
	o.Exec("UPDATE tokens SET expires_at = now()")
	o.ended("expired", tokens)
}

func TestARefreshTokenIsGoodOnce(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	first := o.tokens()
	second, err := o.refresh(first, "other", "unheard of")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"other"}, second.Scopes); diff != "" {
		t.Errorf("narrower scopes: %s", diff)
	}
	third, err := o.refresh(second)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"credit", "other"}, third.Scopes); diff != "" {
		t.Errorf("the refresh token has less than the grant: %s", diff)
	}
	if !o.valid(first) || !o.valid(second) || !o.valid(third) {
		t.Error("an access token ended with its refresh token")
	}

	if _, err := o.refresh(second); !errors.Is(err, store.ErrRefreshRefused) {
		t.Errorf("the second use: %v", err)
	}
	o.ended("reused", first, second, third)
}

func TestOfManyRefreshesAtOnceOneIsDoneAndTheGrantEnds(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	first := o.tokens()
	processes := []*store.Store{o.Store, storetest.Open(t, o.URL)}
	var mu sync.Mutex
	var got []store.Tokens
	var racing sync.WaitGroup
	for i := range 8 {
		racing.Go(func() {
			tokens, err := processes[i%2].RefreshTokens(t.Context(), o.by, first.Refresh, nil)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				got = append(got, tokens)
			case !errors.Is(err, store.ErrRefreshRefused):
				t.Error(err)
			}
		})
	}
	racing.Wait()
	if len(got) != 1 {
		t.Errorf("%d were done, want 1", len(got))
	}
	o.ended("reused", append(got, first)...)
}

// A thief and the client hold two tokens of one grant; the reuse of an old one must end
// also the tokens that are made at that moment.
func TestNoTokenIsMadeBesideARevocation(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	for range 5 {
		first := o.tokens()
		newest, err := o.refresh(first)
		if err != nil {
			t.Fatal(err)
		}
		chain := []store.Tokens{first, newest}
		var racing sync.WaitGroup
		racing.Go(func() {
			for len(chain) < 100 {
				next, err := o.refresh(chain[len(chain)-1])
				if err != nil {
					return
				}
				chain = append(chain, next)
			}
			t.Error("the grant goes on")
		})
		racing.Go(func() {
			if _, err := o.refresh(first); !errors.Is(err, store.ErrRefreshRefused) {
				t.Error(err)
			}
		})
		racing.Wait()
		if n := o.Count(tokensThatLive); n != 0 {
			t.Errorf("%d tokens of %d pairs live on", n, len(chain))
		}
	}
}

func TestAGrantIsRevoked(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	for name, pick := range map[string]func(store.Tokens) string{
		"by its access token":  func(t store.Tokens) string { return t.Access },
		"by its refresh token": func(t store.Tokens) string { return t.Refresh },
	} {
		first, other := o.tokens(), o.tokens()
		second, err := o.refresh(first)
		if err != nil {
			t.Fatal(err)
		}
		if err := o.RevokeToken(t.Context(), o.by, pick(second)); err != nil {
			t.Fatal(err)
		}
		o.ended(name, first, second)
		if !o.valid(other) {
			t.Errorf("%s: another grant ended, too", name)
		}
	}
	if err := o.RevokeToken(t.Context(), o.by, "unknown"); err != nil {
		t.Errorf("an unknown token: %v", err)
	}
}

func TestTheTokensOfOthersAreNotRefreshedAndNotRevoked(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.client(store.NewClient{ClientID: "thief", Secret: "a thief's"})
	thief := store.Credentials{ClientID: "thief", Secret: "a thief's"}
	tokens := o.tokens()
	if _, err := o.RefreshTokens(t.Context(), thief, tokens.Refresh, nil); !errors.Is(err, store.ErrRefreshRefused) {
		t.Errorf("refreshed: %v", err)
	}
	for _, text := range []string{tokens.Access, tokens.Refresh} {
		if err := o.RevokeToken(t.Context(), thief, text); err != nil {
			t.Errorf("revoked: %v, want no effect", err)
		}
	}
	if !o.valid(tokens) {
		t.Error("the token ended")
	}
	if _, err := o.refresh(tokens); err != nil {
		t.Errorf("the refresh token ended: %v", err)
	}
	if _, err := o.RefreshTokens(t.Context(), o.by, tokens.Access, nil); !errors.Is(err, store.ErrRefreshRefused) {
		t.Errorf("refreshed by an access token: %v", err)
	}
}

func TestWhoIsDisabledHasNoTokens(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	ofAlice, err := o.LoginTokens(t.Context(), o.by, alice, nil)
	if err != nil {
		t.Fatal(err)
	}
	ofOffice := o.tokens()
	if err := o.SetUserDisabled(t.Context(), "alice", true); err != nil {
		t.Fatal(err)
	}
	o.fails(1, alice)
	if err := o.SetUserDisabled(t.Context(), "alice", false); err != nil {
		t.Fatal(err)
	}
	o.ended("the user was disabled", ofAlice)
	if err := o.logIn(alice); err != nil {
		t.Errorf("enabled again: %v", err)
	}
	if !o.valid(ofOffice) {
		t.Error("the client's own token ended with the user's")
	}

	if err := o.SetClientDisabled(t.Context(), "office", true); err != nil {
		t.Fatal(err)
	}
	if _, err := o.ClientTokens(t.Context(), o.by, nil); !errors.Is(err, store.ErrClientRefused) {
		t.Errorf("a disabled client: %v", err)
	}
	if err := o.SetClientDisabled(t.Context(), "office", false); err != nil {
		t.Fatal(err)
	}
	o.ended("the client was disabled", ofOffice)
	if err := o.SetClientDisabled(t.Context(), "nobody", true); !errors.Is(err, store.ErrClientNotFound) {
		t.Errorf("an unknown client: %v", err)
	}
	if err := o.SetUserDisabled(t.Context(), "nobody", true); !errors.Is(err, store.ErrUserNotFound) {
		t.Errorf("an unknown user: %v", err)
	}
}

// A row that is changed past the store counts, too.
func TestADisabledRowMakesItsTokensInvalid(t *testing.T) {
	t.Parallel()
	for _, table := range []string{"clients", "users"} {
		o := newOffice(t)
		tokens, err := o.LoginTokens(t.Context(), o.by, alice, nil)
		if err != nil {
			t.Fatal(err)
		}
		o.Exec("UPDATE " + table + " SET disabled = true")
		if o.valid(tokens) {
			t.Errorf("%s: the token lives", table)
		}
	}
}

// Who shows the old secret while it is renewed gets tokens that are revoked, or none.
func TestAnOldSecretsTokensEndWithIt(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	var mu sync.Mutex
	var issued []store.Tokens
	began := make(chan struct{}, 2)
	var asking sync.WaitGroup
	for range 2 {
		asking.Go(func() {
			for {
				tokens, err := o.ClientTokens(t.Context(), o.by, nil)
				if errors.Is(err, store.ErrClientRefused) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				issued = append(issued, tokens)
				mu.Unlock()
				select {
				case began <- struct{}{}:
				default:
				}
			}
		})
	}
	<-began
	secret, err := o.RenewClientSecret(t.Context(), "office")
	if err != nil {
		t.Fatal(err)
	}
	asking.Wait()
	if n := o.Count(tokensThatLive); n != 0 {
		t.Errorf("%d tokens of %d logins live on", n, len(issued))
	}
	o.by.Secret = secret
	if !o.valid(o.tokens()) {
		t.Error("the new secret's token is invalid")
	}
	if _, err := o.RenewClientSecret(t.Context(), "nobody"); !errors.Is(err, store.ErrClientNotFound) {
		t.Errorf("an unknown client: %v", err)
	}
}

func TestWhatThisProcessRevokesItForgetsAtOnce(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	other := storetest.Open(t, o.URL)
	tokens := o.tokens()
	for _, process := range []*store.Store{o.Store, other} {
		if _, err := process.Authorize(t.Context(), tokens.Access); err != nil {
			t.Fatal(err)
		}
	}
	if err := o.RevokeToken(t.Context(), o.by, tokens.Access); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Authorize(t.Context(), tokens.Access); !errors.Is(err, store.ErrTokenInvalid) {
		t.Errorf("the process that revoked it: %v", err)
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(10 * time.Second); ; <-tick.C { // the other one finds out within two seconds
		if _, err := other.Authorize(t.Context(), tokens.Access); errors.Is(err, store.ErrTokenInvalid) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("another process never finds out")
		}
	}
}

func TestUsersAndClientsAreUnique(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	for _, story := range []struct {
		name string
		user store.NewUser
		want error
	}{
		{"a name", store.NewUser{Name: "alice"}, store.ErrNameTaken},
		{"a card", store.NewUser{Name: "carol", Card: "04A2B1C3"}, store.ErrCardTaken},
		{"a PIN", store.NewUser{Name: "carol", PIN: "4321"}, store.ErrPINTaken},
		{"an unknown right", store.NewUser{Name: "carol", Rights: []string{"everything"}}, store.ErrRightUnknown},
	} {
		if err := o.AddUser(t.Context(), story.user); !errors.Is(err, story.want) {
			t.Errorf("%s: %v, want %v", story.name, err, story.want)
		}
	}
	for _, user := range []store.NewUser{{}, {Name: "a\x00"}, {Name: "carol", PIN: "123"}, {Name: "carol", PIN: "12a4"}, {Name: "carol", Password: "short"}} {
		if err := o.AddUser(t.Context(), user); err == nil || errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%+v: %v", user, err)
		}
	}
	if _, err := o.AddClient(t.Context(), store.NewClient{ClientID: "office"}); !errors.Is(err, store.ErrClientTaken) {
		t.Errorf("a client's id: %v", err)
	}
	if _, err := o.AddClient(t.Context(), store.NewClient{ClientID: "x", Rights: []string{"everything"}}); !errors.Is(err, store.ErrRightUnknown) {
		t.Errorf("a client's right: %v", err)
	}
	for _, client := range []store.NewClient{{}, {ClientID: "a b"}, {ClientID: "x", Scopes: []string{"a b"}}, {ClientID: "x", Scopes: []string{""}}} {
		if _, err := o.AddClient(t.Context(), client); err == nil {
			t.Errorf("%+v was made", client)
		}
	}
}

// A rotation writes three rows. Cut before the commit, the old token is as good as before;
// cut after it, nobody has the new ones, and the second try ends the grant.
func TestRotateAndAnswer(t *testing.T) {
	eachCut(t, func(t *testing.T, db *faulty, cut storetest.Cut, done bool) {
		o := furnish(t, db.DB)
		first := o.tokens()
		db.faults.CutNextCommit(cut)
		if _, err := db.cutting.RefreshTokens(t.Context(), o.by, first.Refresh, nil); !errors.Is(err, store.ErrUnavailable) {
			t.Fatalf("refresh: %v, want unavailable", err)
		}
		want := 2
		if done {
			want = 4
		}
		if got := o.Count("SELECT count(*) FROM tokens"); got != want {
			t.Errorf("%d tokens, want %d", got, want)
		}

		// The client asks again.
		second, err := o.refresh(first)
		if done {
			if !errors.Is(err, store.ErrRefreshRefused) {
				t.Errorf("again: %v, want it refused", err)
			}
			o.ended("its answer was lost", first)
			if n := o.Count(tokensThatLive); n != 0 {
				t.Errorf("%d tokens that nobody has live on", n)
			}
			return
		}
		if err != nil || !o.valid(second) || !o.valid(first) {
			t.Errorf("again: %v", err)
		}
	})
}

// The reuse is found, and the end of the grant is cut.
func TestFindTheReuseAndEndTheGrant(t *testing.T) {
	eachCut(t, func(t *testing.T, db *faulty, cut storetest.Cut, done bool) {
		o := furnish(t, db.DB)
		first := o.tokens()
		second, err := o.refresh(first)
		if err != nil {
			t.Fatal(err)
		}
		db.faults.CutNextCommit(cut)
		if _, err := db.cutting.RefreshTokens(t.Context(), o.by, first.Refresh, nil); !errors.Is(err, store.ErrUnavailable) {
			t.Fatalf("reuse: %v, want unavailable", err)
		}
		if o.valid(second) == done {
			t.Errorf("the grant lives: %v", !done)
		}
		if _, err := o.refresh(first); !errors.Is(err, store.ErrRefreshRefused) {
			t.Errorf("reused again: %v, want it refused", err)
		}
		o.ended("reused again", first, second)
	})
}

func TestDisableAndRevoke(t *testing.T) {
	eachCut(t, func(t *testing.T, db *faulty, cut storetest.Cut, done bool) {
		o := furnish(t, db.DB)
		tokens := o.tokens()
		db.faults.CutNextCommit(cut)
		if err := db.cutting.SetClientDisabled(t.Context(), "office", true); !errors.Is(err, store.ErrUnavailable) {
			t.Fatalf("disable: %v, want unavailable", err)
		}
		if o.valid(tokens) == done {
			t.Errorf("the token is valid: %v", !done)
		}
		for _, disabled := range []bool{true, false} {
			if err := o.SetClientDisabled(t.Context(), "office", disabled); err != nil {
				t.Fatal(err)
			}
		}
		o.ended("disabled again", tokens)
	})
}

const tokensThatLive = `
	SELECT count(*)
	FROM tokens t
	JOIN grants g     ON g.id = t.grant_id
	JOIN clients c    ON c.id = g.client_id
	LEFT JOIN users u ON u.id = g.user_id
	WHERE NOT g.revoked AND g.created_at >= c.grants_from AND g.created_at >= coalesce(u.grants_from, '-infinity')`
