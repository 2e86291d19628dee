package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// notCommands are in the pages' text as commands are.
var notCommands = []string{
	"`quittance transfer 1`",         // how a transfer's canonical form begins
	"`quittance client|user enable`", // two in one
}

// Who is woken at three types what stands there. What is in a page's blocks is run elsewhere: this
// is about what its sentences name.
func TestPagesNameCommandsThatExist(t *testing.T) {
	t.Parallel()
	var pages []string
	for _, pattern := range []string{"../../*.md", "../../deploy/*/*.md", "../../api/*/*.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %v, %v", pattern, found, err)
		}
		pages = append(pages, found...)
	}
	seen := 0
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range regexp.MustCompile("`quittance ([^`]+)`").FindAllStringSubmatch(string(text), -1) {
			if !slices.Contains(notCommands, line[0]) {
				seen++
				checkCommand(t, filepath.Base(filepath.Dir(page))+"/"+filepath.Base(page), line[1])
			}
		}
	}
	if seen < 40 {
		t.Errorf("the pages name only %d commands", seen)
	}
}

// checkCommand holds a command, with its flags and arguments, against the program.
func checkCommand(t *testing.T, page, line string) {
	t.Helper()
	line, _, _ = strings.Cut(line, " >") // where its output goes
	words := strings.Fields(line)
	cmd, rest, err := newRoot(nil).Find(words)
	if err != nil || words[0] != "--help" && !cmd.HasParent() || cmd.HasSubCommands() && len(cmd.Flags().Args()) > 0 {
		t.Errorf("%s: there is no command %s: %v", page, line, err)
		return
	}
	if err := cmd.ParseFlags(rest); err != nil && words[0] != "--help" {
		t.Errorf("%s: %s: %v", page, line, err)
		return
	}
	if err := cmd.ValidateArgs(cmd.Flags().Args()); err != nil && len(cmd.Flags().Args()) > 0 {
		t.Errorf("%s: %s: %v", page, line, err)
	}
}
