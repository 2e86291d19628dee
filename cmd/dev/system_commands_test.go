package main

import (
	"context"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quittance/quittance/deploy/local"
	"github.com/quittance/quittance/queue/queuetest"
	"github.com/quittance/quittance/store/storetest"
	"github.com/quittance/quittance/workers/acquirer/acquirertest"
)

// documents are all pages and scripts, and what their commands show, in this order. Of a page
// what is in blocks marked sh is run, from the first to the last, in one shell.
var documents = map[string]document{
	"README.md": {
		not: []string{"make run"},
		shows: []string{
			`"state":2`, "HTTP/1.1 201", `"status":"succeeded"`, `"state":5`, `"tx_id"`, "the-shops-phone", "pay it: http", `"paymentStatus":"FINISHED"`,
			"Webhook-Signature", "bob@example.com", "Nothing is wrong", "payment.finished", "DIED AT",
		},
	},
	"CONTRIBUTING.md":        {},
	"api/callback/README.md": {not: []string{"openssl dgst"}, shows: []string{`"secret":"whsec_`, `"callbacks":`, "partner.example", "accepted: see"}}, // the recipes are run beside them
	"api/invoicer/README.md": {shows: []string{`"status":1`}},
	"api/recharge/README.md": {shows: []string{"backoffice", "alice", "kiosk"}},
	"api/mobile/README.md":   {},

	"deploy/docs/compose.md":       {not: []string{"docker"}}, // needs Docker
	"deploy/docs/concepts.md":      {},
	"deploy/docs/configuration.md": {not: []string{"_FILE=/run"}}, // that cmd/settings reads
	"deploy/docs/kubernetes.md":    {not: []string{"kubectl"}},    // needs a cluster
	"deploy/docs/metrics.md":       {},
	"deploy/docs/operating.md":     {shows: []string{"Nothing is wrong", "DIED AT", "kiosk-7", "petra", "client.add", `"actor"`}},
	"deploy/docs/production.md":    {not: []string{"OWNER_URL", "rabbitmqctl"}}, // run by the tests of cmd/quittance and queue
	"deploy/docs/runbooks.md":      {},
	"deploy/docs/scaling.md":       {},
	"deploy/docs/tracing.md":       {not: []string{"OTEL_EXPORTER"}}, // that workers/tracing reads
	"deploy/examples/README.md":    {},
	"deploy/examples/mobile.sh":    {shows: []string{`"state":2`, "Operation-Status: succeeded", `"state":5`, `"tx_id"`, "the-shops-phone"}},
	"deploy/examples/invoicer.sh":  {shows: []string{"/i/", `"paymentStatus":"HOLDED"`, `"reversedAmount":4000`, `"captured":true`, "receipt: 200 application/pdf", "Webhook-Signature"}},
	"deploy/examples/recharge.sh":  {shows: []string{`"providers"`, `"state":"created"`, `"state":"committed"`, `"state":"rolled_back"`}},
	"deploy/examples/callbacks.sh": {shows: []string{`"recharge.committed"`, "Webhook-Signature", `"history"`}},
}

type document struct {
	not   []string // blocks that have one of these are not run
	shows []string // what the commands print, in this order
}

// Every command of the documentation does what the page says.
func TestSystemTheDocumentationsCommands(t *testing.T) {
	t.Parallel()
	root, err := local.Root()
	if err != nil {
		t.Fatal(err)
	}
	if diff := difference(pages(t, root), slices.Sorted(maps.Keys(documents))); len(diff) > 0 {
		t.Errorf("pages without a row above, or the other way round: %v", diff)
	}
	for page, d := range documents {
		script := d.script(t, filepath.Join(root, page))
		if script == "" {
			continue
		}
		t.Run(name(page), func(t *testing.T) {
			t.Parallel()
			shown := startTour(t).follow(script)
			rest := shown
			for _, want := range d.shows {
				_, after, ok := strings.Cut(rest, want)
				if !ok {
					t.Errorf("%s: its commands do not show %q, where it should be in\n%s", page, want, rest)
					break
				}
				rest = after
			}
		})
	}
}

// pages are all pages and scripts of this tree.
func pages(t *testing.T, root string) (all []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && path != root && strings.HasPrefix(d.Name(), ".") {
			return filepath.SkipDir
		}
		if ext := filepath.Ext(path); err == nil && (ext == ".md" || ext == ".sh") {
			page, _ := filepath.Rel(root, path) // it is below root
			all = append(all, filepath.ToSlash(page))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// difference is what only one of two sets has.
func difference(a, b []string) (only []string) {
	for _, pair := range [][2][]string{{a, b}, {b, a}} {
		for _, s := range pair[0] {
			if !slices.Contains(pair[1], s) {
				only = append(only, s)
			}
		}
	}
	return only
}

var shellBlock = regexp.MustCompile("(?ms)^```sh\n(.*?)^```$")

// script are the page's commands.
func (d document) script(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if filepath.Ext(path) == ".sh" {
		return string(text)
	}
	var script strings.Builder
	for _, block := range shellBlock.FindAllStringSubmatch(string(text), -1) {
		if !slices.ContainsFunc(d.not, func(not string) bool { return strings.Contains(block[1], not) }) {
			script.WriteString(block[1])
		}
	}
	return script.String()
}

// tour is what a newcomer has after `make run`, at other addresses.
type tour struct {
	*system
	sandbox *program
}

func startTour(t *testing.T) *tour {
	t.Helper()
	bin, err := buildPlain()
	if err != nil {
		t.Fatal(err)
	}
	addresses := freeAddresses(t, 2)
	sandbox := &program{
		name: "sandbox", path: filepath.Join(bin, "sandbox"), log: filepath.Join(t.TempDir(), "sandbox.log"),
		env:    []string{"QUITTANCE_ENV=test", "QUITTANCE_SANDBOX_HTTP_ADDR=" + addresses[0], "QUITTANCE_SANDBOX_MAIL_ADDR=" + addresses[1]},
		health: "http://" + addresses[0] + "/healthz", addresses: addresses,
	}
	if err := sandbox.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sandbox.process().Kill() })
	if err := sandbox.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := start(t, false, storetest.Create(t), queuetest.New(t), "QUITTANCE_ENV=development", "QUITTANCE_ACQUIRER_URL=http://"+addresses[0]+"/acquirer",
		"QUITTANCE_FCM_URL=http://"+addresses[0], "QUITTANCE_SMTP_URL=smtp://"+addresses[1])
	if err := s.books.LoadDemo(t.Context(), acquirertest.TokenOf); err != nil {
		t.Fatal(err)
	}
	return &tour{s, sandbox}
}

// elsewhere says where the addresses of `make run` are for this tour.
func (o *tour) elsewhere(text string) string {
	return strings.NewReplacer("127.0.0.1:8000", o.api.addresses[0], "127.0.0.1:8090", o.sandbox.addresses[0]).Replace(text)
}

// manners are a reader's: who asks what came in looks again until something has, and who is
// refused something goes no further.
const manners = `set -u
quittance() { command quittance "$@" || { echo "quittance $* has failed" >&2; kill $$; }; }
curl() {
	local shown
	for try in $(seq 300); do
		shown=$(command curl --fail-with-body --max-time 60 "$@"; echo .) || { echo "curl $*: $shown" >&2; kill $$; }
		case "$*" in */inbox/*|*/fcm/messages*|*/mail/messages*) [ "$(printf %s "$shown" | tr -d '[:space:]')" != "[]." ] || { sleep 0.1; continue; } ;; esac
		break
	done
	printf '%s' "${shown%.}"
}
`

// follow runs the commands of a page and returns what they print.
func (o *tour) follow(script string) string {
	o.t.Helper()
	folder := o.t.TempDir()
	script = strings.NewReplacer(".local/bin/quittance", "quittance", "/tmp/", folder+"/").Replace(o.elsewhere(script))
	ctx, cancel := context.WithTimeout(o.t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", manners+script)
	cmd.Dir = folder
	cmd.Env = append(o.api.env, "PATH="+filepath.Dir(o.api.path)+":"+os.Getenv("PATH"))
	shown, err := cmd.CombinedOutput()
	if err != nil {
		o.t.Fatalf("the commands end with %v, after\n%s", err, shown)
	}
	return string(shown)
}
