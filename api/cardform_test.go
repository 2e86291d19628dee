package api

import (
	"strings"
	"testing"
	"time"
)

func TestWhatMayBeTheNumberOfACard(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"4111111111111111":           true,
		"4000000000000002":           true,
		"5555555555554444":           true,
		"378282246310005":            true,
		"6011000990139424":           true,
		"4222222222222":              true,
		"4111111111111112":           false,
		"1411111111111111":           false,
		"4111 1111 1111 1111":        false,
		"411111111111111１":           false,
		"00000000000":                false,
		"":                           false,
		strings.Repeat("0", 12):      true,
		strings.Repeat("0", 19):      true,
		strings.Repeat("0", 20):      false,
		"-411111111111111":           false,
		"4111111111111111\n":         false,
		strings.Repeat("9", 1_000_0): false,
	} {
		if got := IsCardNumber(text); got != want {
			t.Errorf("%q may be a card's number: %v, want %v", text, got, want)
		}
	}
}

func TestACardIsGoodToTheEndOfItsMonthEverywhere(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 12, 1, 11, 59, 0, 0, time.UTC) // November in Howland
	for text, want := range map[string][2]bool{
		"2026-11":  {true, false},
		"2026-10":  {true, true},
		"2026-12":  {true, false},
		"0001-01":  {true, true},
		"9999-12":  {true, false},
		"2026-13":  {},
		"2026-00":  {},
		"2026-1":   {},
		"26-11":    {},
		"11/26":    {},
		"2026-11 ": {},
		"":         {},
	} {
		if ok, past := CardExpiry(text, now); ok != want[0] || past != want[1] {
			t.Errorf("%q: a month %v, past %v; want %v", text, ok, past, want)
		}
	}
	if _, past := CardExpiry("2026-11", now.Add(time.Minute)); !past {
		t.Error("November is not over")
	}
}
