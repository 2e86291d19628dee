package callback

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/storetest"
)

// verify says whether a callback is genuine and new. secret is whsec_… of the endpoint.
func verify(secret string, h http.Header, body []byte, now time.Time) bool {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	sent, notANumber := strconv.ParseInt(h.Get("webhook-timestamp"), 10, 64)
	if err != nil || len(key) == 0 || notANumber != nil || now.Sub(time.Unix(sent, 0)).Abs() > 5*time.Minute {
		return false
	}
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%d.", h.Get("webhook-id"), sent)
	mac.Write(body)
	expected := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	for _, signature := range strings.Fields(h.Get("webhook-signature")) {
		if hmac.Equal([]byte(signature), []byte(expected)) {
			return true
		}
	}
	return false
}

func readme(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// recipe is the README's first block of a language that has this text.
func recipe(t *testing.T, language, has string) string {
	t.Helper()
	for block := range strings.SplitSeq(readme(t), "```"+language+"\n") {
		code, _, closed := strings.Cut(block, "```")
		if closed && strings.Contains(code, has) {
			return code
		}
	}
	t.Fatalf("the README has no %s with %q", language, has)
	return ""
}

// sent is a callback as a receiver gets it.
type sent struct {
	id, timestamp, signature string
	body                     string
}

// sign makes a callback that is signed with the keys.
func sign(body string, at time.Time, keys ...[]byte) sent {
	s := sent{id: "019aa8e2-0c1d-7d3c-9f0e-2b9c5d7a1e44", timestamp: strconv.FormatInt(at.Unix(), 10), body: body}
	var all []string
	for _, key := range keys {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(s.id + "." + s.timestamp + "." + body))
		all = append(all, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	s.signature = strings.Join(all, " ")
	return s
}

// callbacks are stories of what a receiver gets.
func callbacks(now time.Time) []struct {
	name string
	sent
	genuine bool
} {
	const body = `{"id":"019aa8e2","type":"recharge.committed","data":{"description":"<ж>\n\\"}}`
	forged := sign(body, now, endpointKey)
	forged.body += " "
	other := sign(body, now, endpointKey)
	other.id = "019aa8e2-0c1d-7d3c-9f0e-2b9c5d7a1e45"
	return []struct {
		name string
		sent
		genuine bool
	}{
		{"genuine", sign(body, now, endpointKey), true},
		{"the secret is being rotated, ours is the new one", sign(body, now, endpointKey, []byte("old")), true},
		{"the secret is being rotated, ours is the old one", sign(body, now, []byte("new"), endpointKey), true},
		{"ends in a line feed", sign(body+"\n", now, endpointKey), true},
		{"another key", sign(body, now, []byte("another")), false},
		{"no signature", sign(body, now), false},
		{"a body with one space more", forged, false},
		{"another id", other, false},
	}
}

// The key has bytes that are no text, and a zero.
var endpointKey = append([]byte{0, 255, '\n', ' '}, []byte("28 bytes that are just text.")...)

func TestTheReadmeVerifiesInGo(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("readme_test.go")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(source), recipe(t, "go", "func verify")) {
		t.Error("what the README shows is not what is tested here")
	}
	now := time.Unix(1_795_000_000, 0)
	check := func(s sent, at time.Time) bool {
		h := http.Header{}
		h.Set("webhook-id", s.id)
		h.Set("webhook-timestamp", s.timestamp)
		h.Set("webhook-signature", s.signature)
		return verify(storetest.SecretOf(endpointKey), h, []byte(s.body), at)
	}
	for _, story := range callbacks(now) {
		if got := check(story.sent, now); got != story.genuine {
			t.Errorf("%s: genuine %v, want %v", story.name, got, story.genuine)
		}
	}
	for _, late := range []time.Duration{6 * time.Minute, -6 * time.Minute} {
		if check(sign("{}", now, endpointKey), now.Add(late)) {
			t.Errorf("%s late: it passes", late)
		}
	}
}

// shell runs a recipe where a receiver would.
func shell(t *testing.T, script, body string, environ ...string) (string, error) {
	t.Helper()
	return execute(t, body, environ, "sh", "-euc", script)
}

// execute runs a program in a folder that has the body.
func execute(t *testing.T, body string, environ []string, program string, args ...string) (string, error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "body"), []byte(body), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), environ...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func needsOpenSSL(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("there is no openssl here")
	}
}

func TestTheReadmeVerifiesInTheShell(t *testing.T) {
	t.Parallel()
	needsOpenSSL(t)
	script := recipe(t, "sh", "hexkey")
	for _, story := range callbacks(time.Now()) {
		out, err := shell(t, script, story.body, "SECRET="+storetest.SecretOf(endpointKey),
			"ID="+story.id, "TIMESTAMP="+story.timestamp, "SIGNATURE="+story.signature)
		if (err == nil) != story.genuine {
			t.Errorf("%s: %v, want genuine: %v\n%s", story.name, err, story.genuine, out)
		}
	}
}

// What asks a recipe in each language about the callback of the environment, at TIMESTAMP and NOW.
const (
	askPython = `
import os, sys
e = os.environ
headers = {"webhook-id": e["ID"], "webhook-timestamp": e["TIMESTAMP"], "webhook-signature": e["SIGNATURE"]}
sys.exit(0 if verify(e["SECRET"], headers, open("body", "rb").read(), int(e["NOW"])) else 1)
`
	askPHP = `
$headers = ['webhook-id' => getenv('ID'), 'webhook-timestamp' => getenv('TIMESTAMP'), 'webhook-signature' => getenv('SIGNATURE')];
exit(verify(getenv('SECRET'), $headers, file_get_contents('body'), (int) getenv('NOW')) ? 0 : 1);
`
)

func TestTheReadmeVerifiesInOtherLanguages(t *testing.T) {
	t.Parallel()
	for _, language := range []struct{ name, program, flag, ask string }{
		{"python", "python3", "-c", askPython},
		{"php", "php", "-r", askPHP},
	} {
		t.Run(language.name, func(t *testing.T) {
			t.Parallel()
			if _, err := exec.LookPath(language.program); err != nil {
				t.Skipf("there is no %s here", language.program)
			}
			script := recipe(t, language.name, "verify") + language.ask
			ask := func(s sent, at time.Time) (bool, string) {
				out, err := execute(t, s.body, []string{
					"SECRET=" + storetest.SecretOf(endpointKey), "ID=" + s.id, "TIMESTAMP=" + s.timestamp, "SIGNATURE=" + s.signature,
					"NOW=" + strconv.FormatInt(at.Unix(), 10),
				}, language.program, language.flag, script)
				return err == nil, out
			}
			now := time.Unix(1_795_000_000, 0)
			for _, story := range callbacks(now) {
				if got, out := ask(story.sent, now); got != story.genuine || out != "" {
					t.Errorf("%s: genuine %v, want %v\n%s", story.name, got, story.genuine, out)
				}
			}
			for _, late := range []time.Duration{6 * time.Minute, -6 * time.Minute} {
				if got, out := ask(sign("{}", now, endpointKey), now.Add(late)); got || out != "" {
					t.Errorf("%s late: it passes\n%s", late, out)
				}
			}
		})
	}
}

func TestTheReadmeReadsTokensInTheShell(t *testing.T) {
	t.Parallel()
	needsOpenSSL(t)
	script := recipe(t, "sh", "CLAIMS")
	for name, claims := range map[string]jwt.MapClaims{
		"no padding":  {"paymentStatus": "FINISHED", "iat": 1},
		"some":        {"paymentStatus": "FINISHED", "iat": 12},
		"more":        {"paymentStatus": "FINISHED", "iat": 123, "externalId": "ж?~>"},
		"a long one ": {"paymentStatus": "HOLDED", "extraInfo": strings.Repeat("ÿ", 500)},
	} {
		token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte("demo-secret"))
		if err != nil {
			t.Fatal(err)
		}
		body := `{"token":"` + token + `"}`
		out, err := shell(t, script, body, "SHOP_SECRET=demo-secret")
		if err != nil || !strings.Contains(out, `"paymentStatus":"`+fmt.Sprint(claims["paymentStatus"])+`"`) || !strings.HasSuffix(out, "}") {
			t.Errorf("%s: %v, the claims are read as\n%s", name, err, out)
		}
		if out, err := shell(t, script, body, "SHOP_SECRET=another"); err == nil {
			t.Errorf("%s: another secret is as good: %s", name, out)
		}
	}
}

func TestAShopsSecretIsGoodForTheSignature(t *testing.T) {
	t.Parallel()
	needsOpenSSL(t)
	_, after, _ := strings.Cut(readme(t), "with `SECRET=whsec_")
	expression, _, found := strings.Cut(after, "`,")
	if !found {
		t.Fatal("the README does not say how")
	}
	out, err := shell(t, "printf '%s' whsec_"+expression, "", "SHOP_SECRET=demo-secret")
	if want := storetest.SecretOf([]byte("demo-secret")); err != nil || out != want {
		t.Errorf("%q, %v; want %q", out, err, want)
	}
}

func TestTheReadmeHasEveryEventAndEveryRefusal(t *testing.T) {
	t.Parallel()
	text := readme(t)
	for _, e := range append(store.EventTypes(), store.EventCallbackTest) {
		if !strings.Contains(text, "`"+string(e)+"`") {
			t.Errorf("the README has no %s", e)
		}
	}
	for _, r := range refusals {
		if !strings.Contains(text, "`"+r.Refusal.Code+"`") {
			t.Errorf("the README has no %s", r.Refusal.Code)
		}
	}
	for _, route := range New(Config{}).Routes {
		last := route.Path[strings.LastIndex(route.Path, "/")+1:]
		if !strings.Contains(text, strings.TrimPrefix(last, ":")) {
			t.Errorf("the README has no %s %s", route.Method, route.Path)
		}
	}
}
