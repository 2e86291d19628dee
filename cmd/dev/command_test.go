package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/quittance/quittance/deploy/local"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestParseExec(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		args    []string
		command []string
		options local.Options
		tools   bool
		refused bool
	}{
		"a command against the running servers": {
			args: []string{"--", "psql", "-l"}, command: []string{"psql", "-l"},
		},
		"a command with servers of its own": {
			args:    []string{"-data", "test", "-fresh", "-management", "-tools", "--", "go", "test", "-race"},
			command: []string{"go", "test", "-race"}, tools: true,
			options: local.Options{Dir: "/checkout/.local/test", Fresh: true, Management: true},
		},
		"no command":                            {args: []string{"-data", "test"}, refused: true},
		"an unknown flag":                       {args: []string{"-race", "--", "go"}, refused: true},
		"fresh data of the running servers":     {args: []string{"-fresh", "--", "go"}, refused: true},
		"tools for who has no servers":          {args: []string{"-tools", "--", "go"}, refused: true},
		"the data of dev run":                   {args: []string{"-data", "run", "--", "go"}, refused: true},
		"a folder outside of .local":            {args: []string{"-data", "../..", "--", "go"}, refused: true},
		"a folder that is .local or its parent": {args: []string{"-data", "..", "--", "go"}, refused: true},
	} {
		t.Run(name, func(t *testing.T) {
			e, err := parseExec("/checkout", tt.args)
			if tt.refused != (err != nil) {
				t.Fatalf("parseExec(%q): %v, want it refused: %v", tt.args, err, tt.refused)
			}
			if err != nil {
				return
			}
			if diff := cmp.Diff(tt.command, e.command); diff != "" {
				t.Errorf("command (-want +got):\n%s", diff)
			}
			if e.tools != tt.tools {
				t.Errorf("tools: %v, want %v", e.tools, tt.tools)
			}
			if diff := cmp.Diff(tt.options, e.options); diff != "" {
				t.Errorf("options (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCommandRefusesWhatItDoesNotKnow(t *testing.T) {
	for _, args := range [][]string{nil, {"walk"}, {"run", "fast"}, {"reset", "everything"}} {
		if code, err := command(args); code != exitUsage || err == nil {
			t.Errorf("dev %q: code %d, %v; want code %d and a usage", args, code, err, exitUsage)
		}
	}
}
