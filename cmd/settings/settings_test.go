package settings_test

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/quittance/quittance/cmd/settings"
)

// key is a secret of the right length.
var key = base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef"))

// with is an environment that an api starts in, with some variables more.
func with(more ...string) map[string]string {
	environ := map[string]string{
		"DATABASE_URL": "postgres://u:p@127.0.0.1/q", "AMQP_URL": "amqp://u:p@127.0.0.1/", "QUITTANCE_SECRET_KEY": key,
	}
	for _, kv := range more {
		name, value, _ := strings.Cut(kv, "=")
		environ[name] = value
	}
	return environ
}

func file(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "value")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAVariableThatNoCommandKnowsIsAnError(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ set, complaint string }{
		"a letter too few":                        {"QUITTANCE_ADMISION_AGE=1s", "QUITTANCE_ADMISION_AGE is no setting: is it QUITTANCE_ADMISSION_AGE?"},
		"another word":                            {"QUITTANCE_SECRET=x", "is it QUITTANCE_SECRET_KEY?"},
		"a file, misspelt":                        {"QUITTANCE_SECRET_KY_FILE=/x", "is it QUITTANCE_SECRET_KEY_FILE?"},
		"the file of a path":                      {"QUITTANCE_FCM_CREDENTIALS_FILE=/x", "is it QUITTANCE_FCM_CREDENTIALS?"},
		"the file of the environment":             {"QUITTANCE_ENV_FILE=/x", "is it QUITTANCE_ENV?"},
		"set to nothing":                          {"QUITTANCE_NOPE=", "QUITTANCE_NOPE"},
		"a port that no link of Kubernetes sets":  {"QUITTANCE_API_PORT=8000", "QUITTANCE_API_PORT"},
		"one of the worker's, of which it is not": {"QUITTANCE_SMTP_URL=smtp://mail", ""},
		"one of the worker's in a file that only the worker can read": {"QUITTANCE_SMTP_URL_FILE=/nowhere", ""},
		"a stranger's":                     {"QUITTANCES=1", ""},
		"Kubernetes' address of a service": {"QUITTANCE_API_SERVICE_HOST=10.0.0.1", ""},
		"Kubernetes' named port":           {"QUITTANCE_API_SERVICE_PORT_HTTP=80", ""},
		"Kubernetes' link":                 {"QUITTANCE_API_PORT=tcp://10.0.0.1:80", ""},
		"Kubernetes' link, in parts":       {"QUITTANCE_API_PORT_80_TCP_ADDR=10.0.0.1", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := settings.Read[settings.API](with(tt.set))
			if tt.complaint == "" && err != nil {
				t.Errorf("%s: %v, want no error", tt.set, err)
			}
			if tt.complaint != "" && (err == nil || !strings.Contains(err.Error(), tt.complaint)) {
				t.Errorf("%s: %v, want one that says %q", tt.set, err, tt.complaint)
			}
		})
	}
}

func TestWhatNobodyMeansIsAnError(t *testing.T) {
	t.Parallel()
	for set, complaint := range map[string]string{
		"QUITTANCE_ADMISSION_AGE=-1s":                             "QUITTANCE_ADMISSION_AGE: -1s is out of range",
		"QUITTANCE_ACQUIRER_TIMEOUT=0s":                           "QUITTANCE_ACQUIRER_TIMEOUT: 0s is out of range",
		"QUITTANCE_SESSION_RATE=-3":                               "QUITTANCE_SESSION_RATE: -3 is out of range",
		"QUITTANCE_SESSION_RATE=NaN":                              "QUITTANCE_SESSION_RATE: NaN is out of range",
		"QUITTANCE_PAGE_RATE=Inf":                                 "QUITTANCE_PAGE_RATE: +Inf is out of range",
		"QUITTANCE_API_DATABASE_CONNS=0":                          "QUITTANCE_API_DATABASE_CONNS: 0 is out of range",
		"QUITTANCE_HTTP_ADDR=x":                                   "QUITTANCE_HTTP_ADDR: x is out of range",
		"QUITTANCE_ADMISSION_AGE_FILE=" + file(t, "-1s"):          "QUITTANCE_ADMISSION_AGE_FILE: what the file holds is out of range",
		"QUITTANCE_HTTP_ADDR_FILE=" + file(t, "127.0.0.1:8000\n"): "",
		"QUITTANCE_HTTP_ADDR=:8000":                               "",
		"QUITTANCE_PAGE_RATE=0.5":                                 "",
		"QUITTANCE_ADMISSION_AGE=soon":                            "QUITTANCE_ADMISSION_AGE: no duration",
	} {
		_, err := settings.Read[settings.API](with(set))
		switch {
		case complaint == "" && err != nil:
			t.Errorf("%s: %v, want no error", set, err)
		case complaint != "" && (err == nil || !strings.HasPrefix(err.Error(), complaint) || strings.Contains(err.Error(), "\n")):
			t.Errorf("%s: %v, want one line with %q", set, err, complaint)
		}
	}
}

func TestAValueMayStandInAFile(t *testing.T) {
	t.Parallel()
	environ := with("DATABASE_URL=", "DATABASE_URL_FILE="+file(t, "postgres://u:p@db/q\r\n"), "QUITTANCE_ADMISSION_AGE_FILE="+file(t, "3s"))
	cfg, err := settings.Read[settings.API](environ)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.DatabaseURL != "postgres://u:p@db/q" || cfg.AdmissionAge != 3*time.Second {
		t.Errorf("read %q and %s from files", cfg.DatabaseURL, cfg.AdmissionAge)
	}
	if environ["DATABASE_URL"] != "" {
		t.Error("the environment that was given was changed")
	}
}

func TestAFileThatHoldsNoValueIsAnErrorThatDoesNotShowIt(t *testing.T) {
	t.Parallel()
	const secret = "hunter2:pa/ss"
	for name, tt := range map[string]struct {
		environ   map[string]string
		complaint string
	}{
		"it is not there":           {with("AMQP_URL=", "AMQP_URL_FILE=/nowhere/x"), "AMQP_URL_FILE: open /nowhere/x: no such file or directory"},
		"it is empty":               {with("AMQP_URL=", "AMQP_URL_FILE="+file(t, "\n")), "is empty"},
		"the value is set as well":  {with("AMQP_URL_FILE=" + file(t, secret)), "AMQP_URL and AMQP_URL_FILE are both set"},
		"it holds no key":           {with("QUITTANCE_SECRET_KEY=", "QUITTANCE_SECRET_KEY_FILE="+file(t, secret)), "QUITTANCE_SECRET_KEY_FILE: what the file holds is no key of 32 bytes in base64"},
		"it holds no duration":      {with("QUITTANCE_ADMISSION_AGE_FILE=" + file(t, secret)), "QUITTANCE_ADMISSION_AGE_FILE: what the file holds is no duration"},
		"it holds no database":      {with("DATABASE_URL=", "DATABASE_URL_FILE="+file(t, secret)), "DATABASE_URL_FILE: what the file holds is no PostgreSQL URL"},
		"a password is not escaped": {with("DATABASE_URL=postgres://u:" + secret + "@db/q"), "DATABASE_URL: no PostgreSQL URL: its special characters must be percent-encoded"},
		"one node is no URL":        {with("AMQP_URL=amqp://u:p@one/,two"), "AMQP_URL: no AMQP URL"},
		"and the broker's is not":   {with("AMQP_URL=amqp://u:" + secret + "@broker/"), "AMQP_URL: no AMQP URL"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := settings.Read[settings.API](tt.environ)
			if err == nil {
				t.Fatal("it was read")
			}
			if lines := strings.Split(err.Error(), "\n"); len(lines) != 1 || !strings.Contains(err.Error(), tt.complaint) {
				t.Errorf("%q, want one line with %q", err, tt.complaint)
			}
			if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "pa/ss") {
				t.Errorf("it shows the secret: %v", err)
			}
		})
	}
}

func TestAllProblemsAreReportedAtOnce(t *testing.T) {
	t.Parallel()
	_, err := settings.Read[settings.API](map[string]string{
		"QUITTANCE_ENV": "prodution", "DATABASE_URL": "", "QUITTANCE_ADMISSION_AGE": "soon", "QUITTANCE_NOPE": "1", "QUITTANCE_SECRET_KEY_FILE": "/nowhere",
	})
	if err == nil {
		t.Fatal("it was read")
	}
	for _, problem := range []string{
		"QUITTANCE_NOPE is no setting", "QUITTANCE_SECRET_KEY_FILE: open", "QUITTANCE_ENV: no environment: it must be production, development or test",
		"DATABASE_URL is empty", "AMQP_URL is not set", `QUITTANCE_ADMISSION_AGE: no duration: `,
	} {
		if !strings.Contains(err.Error(), problem) {
			t.Errorf("it does not say %q:\n%v", problem, err)
		}
	}
	if lines := strings.Split(err.Error(), "\n"); len(lines) != 6 {
		t.Errorf("%d lines, want 6:\n%v", len(lines), err)
	}
}

func TestEveryVariableIsDescribedOnceAndWhole(t *testing.T) {
	t.Parallel()
	for _, v := range settings.Variables() {
		if v.Type == "" || v.Meaning == "" {
			t.Errorf("%s has no type or no meaning: %+v", v.Name, v)
		}
		if strings.ContainsAny(v.Meaning+v.Default, "|\n") {
			t.Errorf("%s would break the table", v.Name)
		}
	}
}

func TestThePageIsWhatTheCodeSays(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../deploy/docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(settings.Markdown(), string(page)); diff != "" {
		t.Errorf("make it again, by quittance config -o markdown (-want +got):\n%s", diff)
	}
}

func TestAPublicURLIsThatOfAHostWithoutASlashAtItsEnd(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"http://127.0.0.1:8000":       true,
		"https://pay.example":         true,
		"https://shops.example/pay":   true,
		"https://pay.example/":        false,
		"https://pay.example?":        false,
		"https://pay.example/#a":      false,
		"https://bob:1@pay.example":   false,
		"https://:443":                false,
		"pay.example":                 false,
		"//pay.example":               false,
		"javascript:alert(1)//x.test": false,
		"":                            false,
	} {
		var u settings.PublicURL
		if err := u.UnmarshalText([]byte(text)); (err == nil) != want {
			t.Errorf("%q: %v", text, err)
		}
	}
}
