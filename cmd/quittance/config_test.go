package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/quittance/quittance/cmd/settings"
)

func TestEveryVariableIsShown(t *testing.T) {
	t.Parallel()
	text, err := operate(t, "", "config")
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range settings.Variables() {
		if !strings.Contains(text, v.Name+"\n") {
			t.Errorf("%s is not shown", v.Name)
		}
	}

	shown, err := operate(t, "", "config", "-o", "json")
	if err != nil {
		t.Fatal(err)
	}
	var variables []settings.Variable
	if err := json.Unmarshal([]byte(shown), &variables); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(settings.Variables(), variables); diff != "" {
		t.Errorf("as JSON (-want +got):\n%s", diff)
	}
	if page, err := operate(t, "", "config", "-o", "markdown"); err != nil || page != settings.Markdown() {
		t.Errorf("as a page: %v", err)
	}
	if _, err := operate(t, "", "config", "-o", "yaml"); err == nil || !strings.Contains(err.Error(), "must be text, json or markdown") {
		t.Errorf("as yaml: %v", err)
	}
}

func TestProductionHasNoDemo(t *testing.T) {
	t.Parallel()
	_, err := operateIn(t, map[string]string{"QUITTANCE_ENV": "production", "DATABASE_URL": "postgres://nowhere/q"}, "demo")
	if err == nil || !strings.Contains(err.Error(), "production must not have them") {
		t.Errorf("demo: %v", err)
	}
}

func TestTheCommandLineRefusesAVariableThatNobodyKnows(t *testing.T) {
	t.Parallel()
	_, err := operateIn(t, map[string]string{"QUITTANCE_SECRT_KEY": "x", "DATABASE_URL": "postgres://nowhere/q"}, "dead", "list")
	if err == nil || !strings.Contains(err.Error(), "QUITTANCE_SECRT_KEY is no setting: is it QUITTANCE_SECRET_KEY?") {
		t.Errorf("dead list: %v", err)
	}
}
