package main

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/storetest"
)

// deadTold runs a command on dead letters as a program does, and reads what it says.
func deadTold[T any](t *testing.T, db *storetest.DB, args ...string) (told T) {
	t.Helper()
	out, err := operate(t, db.URL, append(append([]string{"dead"}, args...), "-o", "json", "--as", "olga")...)
	if err == nil {
		err = json.Unmarshal([]byte(out), &told)
	}
	if err != nil {
		t.Fatalf("dead %v: %q, %v", args, out, err)
	}
	return told
}

func idText(id int64) string { return strconv.FormatInt(id, 10) }

func TestAnOperatorPutsADeadPaymentRight(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	payer, shop := db.Account(1000), db.Account(0)
	ref := db.Accepted(payer, shop, 300)
	failed, err := db.RetryOperation(t.Context(), store.Failure{Ref: ref, Cause: "panic: \x1b[31mred\ngoroutine 1"})
	if err != nil || failed.Verdict != store.RetryUsedUp {
		t.Fatalf("%+v, %v", failed, err)
	}
	letter := idText(db.Dies(ref))

	if all := deadTold[[]shownLetter](t, db, "list"); len(all) != 1 || all[0].Operation != ref.ID.String() || all[0].ResolvedAt != nil {
		t.Errorf("listed: %+v", all)
	}
	if d := deadTold[shownLetter](t, db, "show", letter); len(d.Attempts) != 1 || !strings.HasPrefix(d.Error, "panic") || d.Body == "" {
		t.Errorf("shown: %+v", d)
	}
	for _, args := range [][]string{{"list"}, {"show", letter}, {"explain", letter}} {
		out, err := operate(t, db.URL, append([]string{"dead"}, args...)...)
		if err != nil || !strings.Contains(out, "panic") || strings.Contains(out, "\x1b") {
			t.Errorf("%v: %q, %v", args, out, err)
		}
	}
	said := deadTold[explanation](t, db, "explain", letter)
	for what, want := range map[string]string{
		strings.Join(said.Failed, " "): "1 failed attempt on record",
		strings.Join(said.State, " "):  "is in progress: no money has moved",
		said.Replay:                    "runs the operation again",
		said.Drop:                      "awaits payment again",
	} {
		if !strings.Contains(what, want) {
			t.Errorf("it is explained: %s; want %q", what, want)
		}
	}
	if would := deadTold[[]shownOutcome](t, db, "replay", letter, "--dry-run"); len(would) != 1 || would[0].Resolution != "replayed" || !would[0].DryRun {
		t.Errorf("would be replayed: %+v", would)
	}
	if did := deadTold[[]shownOutcome](t, db, "replay", "--queue", "payments"); len(did) != 1 || did[0].Resolution != "replayed" {
		t.Errorf("replayed: %+v", did)
	}
	if o := db.Settle(db.Ref(ref.ID)); o.Status != store.Succeeded {
		t.Errorf("then it is settled: %+v", o)
	}
	said = deadTold[explanation](t, db, "explain", letter)
	if state := strings.Join(said.State, " "); !strings.Contains(state, "is paid: the money has moved") || !strings.Contains(said.Replay, "does nothing") {
		t.Errorf("in the end it is explained: %+v", said)
	}
	if all := deadTold[[]shownLetter](t, db, "list", "--resolved"); len(all) != 1 || all[0].ResolvedBy != "olga" {
		t.Errorf("resolved: %+v", all)
	}
	db.CheckInvariants()
}

// Each is explained in words, whatever it is about.
func TestEveryTypeIsExplained(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	db.Provider("external", nil)
	shop, owner := db.Shop(), db.Account(0)
	_, asked := db.CardPayment(db.ShopInvoice(shop, nil))
	db.Finish(db.Call(asked), store.Unknown)
	unasked := db.PaymentCommand(store.PaymentReverse, db.Paid(db.ShopInvoice(shop, nil)), 0)
	db.Paid(db.ShopInvoice(shop, func(n *store.NewShopInvoice) { n.Email = "shop@example.com" }))
	receipt := store.OperationID{}
	if err := db.Pool().QueryRow(t.Context(), "SELECT id FROM operations WHERE type = 'receipt.send'").Scan(&receipt); err != nil {
		t.Fatal(err)
	}
	token := "a token"
	if err := db.SetPushToken(t.Context(), owner.Session, &token, store.Once{}); err != nil {
		t.Fatal(err)
	}
	db.Invoice(owner, db.Account(0), 5)
	push := store.OperationID{}
	if err := db.Pool().QueryRow(t.Context(), "SELECT id FROM pushes").Scan(&push); err != nil {
		t.Fatal(err)
	}
	for _, story := range []struct {
		name                string
		ref                 store.Ref
		state, replay, drop string
	}{
		{"a commit", db.Commanded(store.RechargeCommit, db.Recharge(owner, "3")), "is committing: nothing was credited", "amount is credited", "created as before"},
		{"a call with an unknown outcome", db.Ref(asked.ID), "authorise of 511.00 UAH, of this operation, has an unknown outcome, having been asked 1 time (connection reset)", "is inquired", "is refused: the acquirer was asked"},
		{"a call that was never made", unasked, "refund of 511.00 UAH, of this operation, was never made", "asked only for what it never heard of", "No money is given back"},
		{"a callback", db.Callback(db.Endpoint(shop.Client, "https://shop.example/hook")), "was not delivered, in 0 attempts", "same webhook-id", "not sent"},
		{"a receipt", db.Ref(receipt), "was not mailed", "is mailed", "No receipt"},
		{"a push", db.Ref(push), "was not told of invoice.made", "is sent unless", "not told"},
		{"what nobody knows", store.Ref{ID: store.NewOperationID(), Seq: 3}, "no money waits", "resolves the letter as moot", "no other effect"},
	} {
		letter := idText(db.Dies(story.ref))
		said := deadTold[explanation](t, db, "explain", letter)
		if state := strings.Join(said.State, " "); !strings.Contains(state, story.state) || !strings.Contains(said.Replay, story.replay) || !strings.Contains(said.Drop, story.drop) {
			t.Errorf("%s is explained\n%s\nwant %q, %q and %q", story.name, said.text(), story.state, story.replay, story.drop)
		}
	}
	db.CheckInvariants()
}

func TestManyDeadLettersAreReplayedByFilter(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	payer, shop := db.Account(1000), db.Account(0)
	for range deadStep + 5 {
		db.Dies(db.Accepted(payer, shop, 1))
	}
	other := db.Accepted(payer, shop, 1)
	db.Dies(other)
	db.Exec("UPDATE dead_letters SET error = 'another one' WHERE message_id = $1", other.ID.String())

	did := deadTold[[]shownOutcome](t, db, "replay", "--text", "it CANNOT be done", "--rate", "10000")
	if len(did) != deadStep+5 {
		t.Errorf("%d are replayed, want %d", len(did), deadStep+5)
	}
	if n := db.Count("SELECT count(*) FROM operations WHERE status = 'dead'"); n != 1 {
		t.Errorf("%d are dead still, want 1", n)
	}
	if did := deadTold[[]shownOutcome](t, db, "replay", "--everything"); len(did) != 1 {
		t.Errorf("of all that was left %d are replayed, want 1", len(did))
	}
	db.CheckInvariants()
}

func TestADropSaysWhy(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	_, asked := db.CardPayment(db.ShopInvoice(db.Shop(), nil))
	db.Call(asked)
	unknown, known := idText(db.Dies(db.Ref(asked.ID))), idText(db.Dies(db.Accepted(db.Account(10), db.Account(0), 1)))

	out, err := operate(t, db.URL, "dead", "drop", unknown, known, "--reason", "agreed with the shop", "-o", "json")
	if err == nil || !strings.Contains(err.Error(), "dead letter "+unknown) || !strings.Contains(err.Error(), "nobody knows what it did") {
		t.Errorf("what nobody knows is dropped: %v", err)
	}
	var did []shownOutcome
	if err := json.Unmarshal([]byte(out), &did); err != nil || len(did) != 2 || did[0].Refused == "" || did[1].Resolution != "dropped" {
		t.Errorf("dropped: %s, %v", out, err)
	}
	if d := deadTold[shownLetter](t, db, "show", known); d.Note != "agreed with the shop" || d.Resolution != "dropped" {
		t.Errorf("its letter is %+v", d)
	}
	db.CheckInvariants()
}

func TestWhatNobodyMeantIsRefused(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	letter := idText(db.Dies(db.Accepted(db.Account(10), db.Account(0), 1)))
	for name, args := range map[string]string{
		"all by omission":            "replay",
		"all by an empty filter":     "replay --queue=",
		"some by name and by filter": "replay 1 --queue cards",
		"what is no id":              "replay x",
		"a letter that is not there": "replay 4711",
		"its explanation":            "explain 4711",
		"a rate below nothing":       "replay --everything --rate -1",
		"a drop without a reason":    "drop " + letter,
		"a drop of nothing":          "drop --reason because",
		"a list of nothing":          "list --limit 0",
		"a time that is none":        "list --since yesterday",
		"resolved ones, and all":     "list --resolved --all",
		"a queue that there is not":  "replay --queue payment",
		"a reason that nobody has":   "list --reason expired",
	} {
		if out, err := operate(t, db.URL, append([]string{"dead"}, strings.Fields(args)...)...); err == nil {
			t.Errorf("%s: dead %s: %q", name, args, out)
		}
	}
	if out, err := operate(t, db.URL, "dead", "drop", letter, "--reason", " "); err == nil {
		t.Errorf("a drop for a blank reason: %q", out)
	}
	if n := db.Count("SELECT count(*) FROM dead_letters WHERE resolved_at IS NULL"); n != 1 {
		t.Error("what was refused has resolved something")
	}
}

// The shop of a payment that is dropped is told of it, for good, with an address of the API.
func TestADropTellsTheShopAnAddressOrIsRefused(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	_, never := db.CardPayment(db.ShopInvoice(db.Shop(), nil))
	letter := idText(db.Dies(db.Ref(never.ID)))
	drop := func(publicURL string) error {
		_, err := operateIn(t, map[string]string{
			"QUITTANCE_ENV": "production", "DATABASE_URL": db.URL, "QUITTANCE_PUBLIC_URL": publicURL,
		}, "dead", "drop", letter, "--reason", "agreed with the shop")
		return err
	}
	if err := drop(""); err == nil || !strings.Contains(err.Error(), "QUITTANCE_PUBLIC_URL") {
		t.Errorf("it is dropped by somebody who does not know where the API is: %v", err)
	}
	if err := drop("https://pay.example.com"); err != nil {
		t.Error(err)
	}
	if n := db.Count(`SELECT count(*) FROM events WHERE type = 'payment.rejected' AND body LIKE '%"receiptPath":"https://pay.example.com/%'`); n != 1 {
		t.Errorf("%d events have the address", n)
	}
	db.CheckInvariants()
}
