package main

import (
	"encoding/json"
	"errors"
	"os/exec"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/quittance/quittance/store/storetest"
)

// everyCommand calls f for each command that there is, but for cobra's help.
func everyCommand(root *cobra.Command, f func(*cobra.Command)) {
	for _, cmd := range root.Commands() {
		f(cmd)
		everyCommand(cmd, f)
	}
}

func TestEveryCommandIsDescribedAndChecksWhatItIsGiven(t *testing.T) {
	t.Parallel()
	var commands int
	everyCommand(newRoot(nil), func(cmd *cobra.Command) {
		commands++
		path := cmd.CommandPath()
		if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") {
			t.Errorf("%s: its short description is %q", path, cmd.Short)
		}
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if f.Usage == "" {
				t.Errorf("%s: --%s has no description", path, f.Name)
			}
		})
		if cmd.Args == nil {
			t.Errorf("%s: takes any number of arguments", path)
		}
		if cmd.Annotations[group] != "" || cmd.Hidden {
			return
		}
		if !strings.Contains(cmd.Example, path) && !strings.Contains(cmd.Example, "make "+cmd.Name()) {
			t.Errorf("%s: no example shows it: %q", path, cmd.Example)
		}
		if f := cmd.Flags().Lookup("output"); cmd.Name() != "completion" && (f == nil || f.Shorthand != "o" || !strings.Contains(f.Usage, "json") || f.Value.Set("xml") == nil) {
			t.Errorf("%s: has no -o json, or takes anything for it", path)
		}
	})
	if commands < 30 {
		t.Errorf("there are %d commands: the search for them is broken", commands)
	}
}

// An example that has gone stale is worse than none.
func TestTheFlagsOfEveryExampleAreThere(t *testing.T) {
	t.Parallel()
	everyCommand(newRoot(nil), func(cmd *cobra.Command) {
		for _, line := range strings.Split(cmd.Example, "\n") {
			line, _, _ = strings.Cut(strings.ReplaceAll(line, "ARGS=", ""), "#")
			for _, word := range strings.Fields(line) {
				name, isFlag := strings.CutPrefix(strings.Trim(word, `"`), "--")
				name, _, _ = strings.Cut(name, "=")
				if isFlag && cmd.Flags().Lookup(name) == nil && cmd.Commands() == nil {
					t.Errorf("%s: there is no --%s, which an example shows", cmd.CommandPath(), name)
				}
			}
		}
	})
}

func TestTheExitCodeSaysWhatHappened(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	for _, tt := range []struct {
		line string
		want int
	}{
		{"version", 0},
		{"--help", 0},
		{"callback", 0},
		{"audit", 0},
		{"client disable nobody", exitFailed},
		{"callback show 01939d2c-6f1e-7a40-8c11-5b0c9e1d3a74", exitFailed},
		{"clock", exitFailed},
		{"nope", exitUsage},
		{"callback nope", exitUsage},
		{"callback list --nope", exitUsage},
		{"callback list --limit many", exitUsage},
		{"callback list --status nope", exitUsage},
		{"callback show", exitUsage},
		{"callback show nope", exitUsage},
		{"callback replay-since 24h", exitUsage},
		{"client list surplus", exitUsage},
		{"client list --limit 0", exitUsage},
		{"user list --limit -1", exitUsage},
		{"recharge suspense --limit 0", exitUsage},
		{"client add", exitUsage},
		{"client list -o xml", exitUsage},
		{"user add alice --generate-pin --pin 1234", exitUsage},
		{"voucher --amount x --currency RUR", exitUsage},
		{"open-balance --account x --amount 0 --currency 810 --reference 7c9e6679-7425-40de-944b-e07fc1f90ae7", exitUsage},
		{"audit --nope", exitUsage},
		{"audit log --limit 0", exitUsage},
		{"audit log --since nope", exitUsage},
		{"dead show 17", exitFailed},
		{"dead show nope", exitUsage},
		{"dead list --until nope", exitUsage},
		{"dead list --limit 0", exitUsage},
		{"dead replay", exitUsage},
		{"dead replay nope", exitUsage},
		{"dead replay --everything --rate -1", exitUsage},
		{"dead drop nope --reason test", exitUsage},
	} {
		out, err := operate(t, db.URL, strings.Fields(tt.line)...)
		if got := exitCode(err); got != tt.want {
			t.Errorf("%s: exits with %d, want %d: %q, %v", tt.line, got, tt.want, out, err)
		}
	}
	if _, err := operate(t, "postgres://127.0.0.1:1/nowhere", "audit"); exitCode(err) != exitFailed {
		t.Errorf("without a database: %d, %v", exitCode(err), err)
	}
	if _, err := operate(t, "", "audit"); exitCode(err) != exitFailed {
		t.Errorf("without DATABASE_URL: %d, %v", exitCode(err), err)
	}
}

func TestTheExitCodesAreInTheHelp(t *testing.T) {
	t.Parallel()
	out, err := operate(t, "", "--help")
	if err != nil || !strings.Contains(out, exitCodes) {
		t.Errorf("%v, %s", err, out)
	}
}

func TestAMisspeltCommandIsToldWhatWasMeant(t *testing.T) {
	t.Parallel()
	for line, meant := range map[string]string{
		"adit": "audit", "callback repley x": "replay", "callback endpoint lits": "list", "clock rnu": "run", "version": "",
	} {
		_, err := operate(t, "", strings.Fields(line)...)
		if meant == "" {
			continue
		}
		if err == nil || !strings.Contains(strings.ToLower(err.Error()), "did you mean this?\n\t"+meant) && !strings.Contains(err.Error(), "did you mean "+meant+"?") {
			t.Errorf("%s: %v, want to be asked for %s", line, err, meant)
		}
	}
}

func TestShellsCompleteCommandsAndFormats(t *testing.T) {
	t.Parallel()
	for _, shell := range []string{"bash", "zsh", "fish"} {
		out, err := operate(t, "", "completion", shell)
		if err != nil || !strings.Contains(out, "__complete") {
			t.Errorf("%s: %v, %d bytes", shell, err, len(out))
		}
		program, err := exec.LookPath(shell)
		if err != nil {
			continue // the shell need not be here for its script to be written
		}
		check := exec.CommandContext(t.Context(), program, "-n")
		check.Stdin = strings.NewReader(out)
		if said, err := check.CombinedOutput(); err != nil {
			t.Errorf("%s does not understand its script: %v, %s", shell, err, said)
		}
	}
	if _, err := operate(t, "", "completion", "nope"); exitCode(err) != exitUsage {
		t.Errorf("for a shell that nobody knows: %v", err)
	}
	for line, want := range map[string]string{"__complete client l": "list", "__complete audit -o j": "json", "__complete completion z": "zsh"} {
		if out, err := operate(t, "", strings.Fields(line)...); err != nil || !strings.Contains(out, want) {
			t.Errorf("%s: %v, %q, want %s", line, err, out, want)
		}
	}
}

// What a command answers in JSON is one value, and nothing else is printed.
func TestCommandsAnswerInJSON(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	if _, err := operate(t, db.URL, "demo"); err != nil {
		t.Fatal(err)
	}
	account := db.Account(0)
	db.Provider("external", nil)
	for _, tt := range []struct{ line, want string }{
		{"migrate", `{"applied":[],"granted":[]}`},
		{"demo", `{"loaded":true}`},
		{
			"open-balance --account " + account.Number + " --amount 1050 --currency 810 --reference 7c9e6679-7425-40de-944b-e07fc1f90ae7",
			`{"credited":true,"account":"` + account.Number + `","amount":10.5,"currency":"RUR"}`,
		},
		{"provider add external --name Other", `{"reference":"external","done":"changed"}`},
		{"provider disable external", `{"reference":"external","enabled":false}`},
		{"client disable 1", `{"client_id":"1","disabled":true}`},
		{"user disable demo", `{"name":"demo","disabled":true}`},
		{"callback list", `[]`},
		{"recharge suspense", `[]`},
	} {
		out, err := operate(t, db.URL, append(strings.Fields(tt.line), "-o", "json")...)
		if err != nil {
			t.Errorf("%s: %v", tt.line, err)
			continue
		}
		if diff := cmp.Diff(decoded(t, tt.want), decoded(t, out)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.line, diff)
		}
	}
	out, err := operateIn(t, map[string]string{"DATABASE_URL": db.URL, "QUITTANCE_ENV": "development"}, "clock", "--ahead", "25h", "-o", "json")
	if clock, _ := decoded(t, out).(map[string]any); err != nil || clock["ahead"] != "25h" || clock["decides"] == nil {
		t.Errorf("clock: %v, %s", err, out)
	}
}

func decoded(t *testing.T, text string) (value any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Fatalf("%q is not one JSON value: %v", text, err)
	}
	return value
}

func TestTheVersionIsWhatTheProgramWasBuiltFrom(t *testing.T) {
	t.Parallel()
	info := &debug.BuildInfo{GoVersion: "go1.26.0", Main: debug.Module{Version: "v1.2.3"}, Settings: []debug.BuildSetting{
		{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.time", Value: "2026-11-28T12:00:00Z"}, {Key: "vcs.modified", Value: "true"},
	}}
	if got, want := builtFrom(info).text(), "quittance v1.2.3 abc 2026-11-28T12:00:00Z (modified) go1.26.0"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := builtFrom(nil).text(); got != "quittance unknown " {
		t.Errorf("nothing is known: %q", got)
	}
	if out, err := operate(t, "", "version"); err != nil || !strings.HasPrefix(out, "quittance ") {
		t.Errorf("%q, %v", out, err)
	}
}

func TestAnAuditThatFindsSomethingSaysWhatAndWhere(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	db.Settle(db.Accepted(db.Account(10), db.Account(0), 3))
	out, err := operate(t, db.URL, "audit")
	if err != nil || !strings.Contains(out, "Nothing is wrong") {
		t.Fatalf("%v\n%s", err, out)
	}
	db.Exec("UPDATE ledger_accounts SET balance = 4 WHERE kind = 'wallet' AND balance = 3")

	out, err = operate(t, db.URL, "audit")
	if exitCode(err) != exitFound || !errors.Is(err, errFound) {
		t.Errorf("exits with %d: %v", exitCode(err), err)
	}
	for _, said := range []string{"balances: 1 of 3 are wrong, the first is ledger account", "expected: a balance of 3, the sum of its transfers in minor units", "found:    4"} {
		if !strings.Contains(out, said) {
			t.Errorf("it does not say %q:\n%s", said, out)
		}
	}
	out, err = operate(t, db.URL, "audit", "-o", "json")
	var shown shownAudit
	if json.Unmarshal([]byte(out), &shown) != nil || exitCode(err) != exitFound {
		t.Fatalf("%v\n%s", err, out)
	}
	if shown.Wrong != 2 || len(shown.Checks) != 10 || shown.Checks[0].Check != "transfers" || shown.Checks[0].Rows != 2 || shown.Checks[1].First == nil || shown.Checks[1].First.Found != "4" {
		t.Errorf("in JSON: %+v", shown)
	}
}
