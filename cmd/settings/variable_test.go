package settings

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Or one environment could not serve both, and the page would show the first.
func TestWhatTwoCommandsReadIsOneThing(t *testing.T) {
	t.Parallel()
	type meant struct{ Type, Default, Meaning string }
	seen := map[string]meant{}
	for _, command := range Commands {
		for _, f := range variablesOf(command.Reads) {
			this := meant{f.kind(), f.otherwise, f.doc}
			if first, again := seen[f.variable]; again {
				if diff := cmp.Diff(first, this); diff != "" {
					t.Errorf("%s of %s (-another command's +its own):\n%s", f.variable, command.Name, diff)
				}
			}
			seen[f.variable] = this
		}
	}
}

func TestTheNearestNameIsTheOneOfFewestChanges(t *testing.T) {
	t.Parallel()
	names := map[string]bool{"KITTEN": true, "FLAW": true, "FLOWER": true}
	for wrong, want := range map[string]string{"SITTING": "KITTEN", "LAWN": "FLAW", "FLOWERS": "FLOWER", "FLAW": "FLAW"} {
		if got := nearest(wrong, names); got != want {
			t.Errorf("%s: %s, want %s", wrong, got, want)
		}
	}
	if got := distance("SITTING", "KITTEN"); got != 3 {
		t.Errorf("SITTING becomes KITTEN by %d changes, want 3", got)
	}
}
