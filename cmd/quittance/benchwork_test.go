package main

import (
	"strings"
	"testing"
)

func TestWorkMayBeSpelledWithOneDash(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ args, want string }{
		"as the flags of go test are":     {"bench -work recharge -n 5", "bench --work recharge -n 5"},
		"with an equals sign":             {"bench -work=recharge", "bench --work=recharge"},
		"with two, as the others":         {"bench --work recharge", "bench --work recharge"},
		"another word that begins so":     {"bench -worker", "bench -worker"},
		"a text of another command's":     {"recharge late --note -work", "recharge late --note -work"},
		"no command at all":               {"", ""},
		"in a command that only looks so": {"bench-ceiling -work", "bench-ceiling -work"},
	} {
		if got := strings.Join(spellWork(strings.Fields(tt.args)), " "); got != tt.want {
			t.Errorf("%s: %q is read as %q, want %q", name, tt.args, got, tt.want)
		}
	}
}

func TestEveryWorkIsFoundAndWhole(t *testing.T) {
	t.Parallel()
	for _, w := range works {
		found, err := findWork(w.name)
		if err != nil || found.name != w.name {
			t.Errorf("%s: found %q, %v", w.name, found.name, err)
		}
		if w.run != nil {
			continue
		}
		if w.doing == "" || w.setUp == nil || w.prepare == nil || w.saturate == nil || w.books == (contenderSQL{}) || len(w.promises) <= len(commonBooks) {
			t.Errorf("%s lacks something: %+v", w.name, w)
		}
	}
	if _, err := findWork("pull"); err == nil || !strings.Contains(err.Error(), "payment or recharge or callback or push") {
		t.Errorf("a work that is not there: %v, want one that names those that are", err)
	}
}

func TestCommandsArePartedWithoutLoss(t *testing.T) {
	t.Parallel()
	all := commands{requests: [][]byte{{1}, {2}, {3}}, want: created}
	head, tail := all.upTo(1), all.from(1)
	if len(head.requests) != 1 || len(tail.requests) != 2 || len(all.requests) != 3 {
		t.Errorf("3 commands are parted into %d and %d", len(head.requests), len(tail.requests))
	}
	if head.want != created || tail.want != created {
		t.Error("a part goes on in another way than the whole")
	}
}
