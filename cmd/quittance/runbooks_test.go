package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// Who is woken at three types what stands there.
func TestRunbooksNameCommandsThatExist(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../deploy/docs/runbooks.md")
	if err != nil {
		t.Fatal(err)
	}
	commands := regexp.MustCompile("`quittance ([^`]+)`").FindAllStringSubmatch(string(text), -1)
	if len(commands) < 20 {
		t.Fatalf("the runbooks have only %d commands", len(commands))
	}
	for _, line := range commands {
		words := strings.Fields(line[1])
		cmd, rest, err := newRoot(nil).Find(words)
		if err != nil || !cmd.Runnable() || cmd.HasSubCommands() && len(rest) > 0 {
			t.Errorf("there is no command %s: %v", line[0], err)
			continue
		}
		if err := cmd.ParseFlags(rest); err != nil {
			t.Errorf("%s: %v", line[0], err)
			continue
		}
		if err := cmd.ValidateArgs(cmd.Flags().Args()); err != nil && len(cmd.Flags().Args()) > 0 {
			t.Errorf("%s: %v", line[0], err)
		}
	}
}
