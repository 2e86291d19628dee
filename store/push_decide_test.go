package store

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Whatever is found and whatever comes of the attempts: each push comes to one thing, success
// counts, and what is stale changes nothing but that a token is dead.
func TestEachPushComesToOneThing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		locked := make(map[OperationID]*lockedPush)
		var results []*pushed
		for i := range rapid.IntRange(1, 8).Draw(t, "pushes") {
			id := OperationID{byte(i + 1)}
			if rapid.Bool().Draw(t, "found") {
				locked[id] = &lockedPush{
					id: id, seq: rapid.Int64Range(1, 2).Draw(t, "seq"), attempts: rapid.IntRange(0, 6).Draw(t, "attempts"),
					status: rapid.SampledFrom([]Status{Accepted, Running, Succeeded, Failed, Dead}).Draw(t, "status"),
				}
			}
			r := &pushed{PushResult: PushResult{Push: Push{Ref: Ref{ID: id, Seq: 1}, account: int64(i)}}}
			if rapid.Bool().Draw(t, "fails") {
				r.Code, r.Final = "code", rapid.Bool().Draw(t, "for good")
				r.Token = rapid.SampledFrom([]TokenVerdict{TokenFine, TokenStrike, TokenDead}).Draw(t, "token")
				if rapid.Bool().Draw(t, "again") {
					r.Next = &Delay{Wait: time.Second}
				}
			}
			results = append(results, r)
		}
		w := decidePushes(locked, results)

		comes := make(map[OperationID]int)
		for _, id := range w.ends.ids {
			comes[id]++
		}
		for _, d := range w.delays {
			comes[d.ID]++
		}
		for _, u := range w.used {
			comes[u.ID]++
		}
		strikes := 0
		for _, r := range results {
			found := locked[r.ID]
			believed := found != nil && found.believes(r.Ref)
			counts := found != nil && r.Code == "" && (found.status.Open() || found.status == Dead)
			want := 0
			if believed || counts {
				want = 1
			}
			if comes[r.ID] != want || r.outcome.Stale() == (want == 1) {
				t.Fatalf("%+v of %+v comes to %d things, with %+v", r.PushResult, found, comes[r.ID], r.outcome)
			}
			if counts && r.outcome.Status != Succeeded {
				t.Fatalf("a success ends as %+v", r.outcome)
			}
			if r.Token == TokenDead || (r.Token == TokenStrike && believed) {
				strikes++
			}
		}
		if len(w.strikes) != strikes || len(w.attempts) != len(w.delays)+len(w.used) {
			t.Fatalf("%d strikes of %d; %d attempts on record for %d retries and %d that were the last",
				len(w.strikes), strikes, len(w.attempts), len(w.delays), len(w.used))
		}
	})
}
