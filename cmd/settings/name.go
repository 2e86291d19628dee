package settings

import (
	"maps"
	"regexp"
	"slices"
	"strings"
)

// linked are the variables with which Kubernetes tells a pod of every service in its namespace:
// one that is called quittance-api makes QUITTANCE_API_SERVICE_HOST of it, and tens more.
var linked = regexp.MustCompile(`_SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)$|_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$`)

// ours says whether a variable is meant for a command of ours.
func ours(name, value string) bool {
	if !strings.HasPrefix(name, "QUITTANCE_") || linked.MatchString(name) {
		return false
	}
	return !strings.HasSuffix(name, "_PORT") || !strings.Contains(value, "://") // that of a link is tcp://…
}

// nearest is the name that takes the fewest changes of a letter to get at.
func nearest(name string, names map[string]bool) string {
	return slices.MinFunc(slices.Sorted(maps.Keys(names)), func(a, b string) int { return distance(name, a) - distance(name, b) })
}

// distance is Levenshtein's.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			changed := diagonal
			if a[i] != b[j] {
				changed++
			}
			diagonal = row[j+1]
			row[j+1] = min(changed, diagonal+1, row[j]+1)
		}
	}
	return row[len(b)]
}
