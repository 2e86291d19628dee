package acquirertest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// lines are those of a folder's journal.
func lines(t *testing.T, folder string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(folder, "acquirer.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.SplitAfter(string(text), "\n")
}

func reopen(t *testing.T, folder string, lines ...string) (*book, error) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(folder, "acquirer.jsonl"), []byte(strings.Join(lines, "")), 0o600); err != nil {
		t.Fatal(err)
	}
	j, err := openJournal(folder)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.close() })
	return newBook(j, time.Hour)
}

// written is the journal of a hold of 100 of which 60 were taken.
func written(t *testing.T, folder string) []string {
	t.Helper()
	b, err := reopen(t, folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []call{
		{Name: "authorise", ID: "a", Payment: "p", Amount: 100, Currency: 980, Token: TokenOf("4111111111111111", "2099-12")},
		{Name: "capture", ID: "c", Payment: "p", Of: "a", Amount: 60, Currency: 980},
	} {
		if d, err := b.do(c, time.Now()); err != nil || d.answer.Status != approved {
			t.Fatalf("%s: %+v, %v", c.Name, d, err)
		}
	}
	all := lines(t, folder)
	return all[:len(all)-1] // after the last line there is none
}

// A line that was cut off was never answered. It is gone, and what comes next is whole.
func TestALineThatWasCutOff(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	all := written(t, folder)
	if len(all) != 2 {
		t.Fatalf("two calls are %d lines", len(all))
	}
	for n := range len(all[1]) { // as far as before its end
		b, err := reopen(t, folder, all[0], all[1][:n])
		if err != nil {
			t.Fatalf("cut after %d bytes: %v", n, err)
		}
		if b.records["a"] == nil || b.records["c"] != nil || b.authorisations["a"].State != held {
			t.Fatalf("cut after %d bytes: %+v", n, b.authorisations["a"])
		}
		if d, err := b.do(call{Name: "capture", ID: "d", Payment: "p", Of: "a", Amount: 100, Currency: 980}, time.Now()); err != nil || d.answer.Status != approved {
			t.Fatalf("cut after %d bytes, then: %+v, %v", n, d, err)
		}
		if got := lines(t, folder); len(got) != 3 || got[0] != all[0] {
			t.Fatalf("cut after %d bytes: %q", n, got)
		}
	}
}

func TestAJournalThatIsNone(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	all := written(t, folder)
	if _, err := reopen(t, folder, all[0], "not JSON\n", all[1]); err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("a line that is broken: %v, want an error that names it", err)
	}
	if _, err := New(Config{Folder: folder}); err == nil {
		t.Error("an acquirer starts with it")
	}
}

// What cannot be kept was not done.
func TestWhatCannotBeKept(t *testing.T) {
	t.Parallel()
	b, err := reopen(t, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := b.journal.close(); err != nil {
		t.Fatal(err)
	}
	c := call{Name: "authorise", ID: "a", Payment: "p", Amount: 100, Currency: 980, Token: TokenOf("4111111111111111", "2099-12")}
	if _, err := b.do(c, time.Now()); err == nil || len(b.records) != 0 || len(b.authorisations) != 0 || len(b.order) != 0 {
		t.Errorf("%v, and known are %v", err, b.records)
	}
}

func TestTheJournalHoldsNoCard(t *testing.T) {
	t.Parallel()
	text := strings.Join(written(t, t.TempDir()), "")
	for _, secret := range []string{"4111111111111111", tokenPrefix, "1111111111111"} {
		if strings.Contains(text, secret) {
			t.Errorf("the journal holds %s:\n%s", secret, text)
		}
	}
	if !strings.Contains(text, `"mask":"4111111111"`) {
		t.Errorf("the journal does not hold the mask:\n%s", text)
	}
}
