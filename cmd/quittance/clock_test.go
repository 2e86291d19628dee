package main

import (
	"strings"
	"testing"

	"github.com/quittance/quittance/store/storetest"
)

func TestTheClockIsMovedInDevelopment(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	for _, step := range []struct{ args, said string }{
		{"clock", ", the database's clock"},
		{"clock --ahead 25h", ", 25h ahead of"},
		{"clock", ", 25h ahead of"},
		{"clock --ahead 0", ", the database's clock"},
	} {
		out, err := operateIn(t, map[string]string{"DATABASE_URL": db.URL, "QUITTANCE_ENV": "development"}, strings.Fields(step.args)...)
		if err != nil || !strings.Contains(out, step.said) {
			t.Errorf("%s: %q, %v; want %q", step.args, out, err, step.said)
		}
		moved := db.Count("SELECT round(extract(epoch FROM deciding_time() - now()))::int")
		if want := map[bool]int{true: 25 * 3600}[strings.Contains(step.said, "25h")]; moved != want {
			t.Errorf("%s: decided is %d s ahead, want %d", step.args, moved, want)
		}
	}
}

func TestTheClockStandsElsewhere(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	for name, environ := range map[string]map[string]string{
		"in production":                       {"QUITTANCE_ENV": "production"},
		"where nothing says what it is":       {},
		"where it is said to be nothing":      {"QUITTANCE_ENV": ""},
		"where it is written in another case": {"QUITTANCE_ENV": "Development"},
	} {
		environ["DATABASE_URL"] = db.URL
		if out, err := operateIn(t, environ, "clock", "--ahead", "25h"); err == nil || !strings.Contains(err.Error(), "QUITTANCE_ENV") {
			t.Errorf("%s: %q, %v", name, out, err)
		}
	}
	if out, err := operateIn(t, map[string]string{"DATABASE_URL": db.URL, "QUITTANCE_ENV": "development"}, "clock", "--ahead", "-1h"); err == nil {
		t.Errorf("behind the database's: %q", out)
	}
	if n := db.Count("SELECT count(*) FROM deciding_clock WHERE ahead = interval '0'"); n != 1 {
		t.Error("what was refused has moved the clock")
	}
}
