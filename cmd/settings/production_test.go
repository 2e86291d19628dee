package settings_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/quittance/quittance/cmd/settings"
)

// safe is an environment that production has nothing to say against.
func safe(more ...string) map[string]string {
	return with(append([]string{
		"QUITTANCE_ENV=production", "DATABASE_URL=postgres://u:p@db/q?sslmode=verify-full", "AMQP_URL=amqps://u:p@broker/q",
		"QUITTANCE_PUBLIC_URL=https://pay.example", "QUITTANCE_ACQUIRER_URL=https://acquirer.example",
	}, more...)...)
}

func TestWhatIsForDevelopmentIsRefusedInProductionOrWarnedOf(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ set, refused, warned string }{
		"what is safe":                       {"", "", ""},
		"a payment page without TLS":         {"QUITTANCE_PUBLIC_URL=http://pay.example", "QUITTANCE_PUBLIC_URL", ""},
		"card numbers in clear to a network": {"QUITTANCE_ACQUIRER_URL=http://acquirer.example", "QUITTANCE_ACQUIRER_URL", "QUITTANCE_ACQUIRER_URL"},
		"a stand-in for FCM":                 {"QUITTANCE_FCM_URL=http://127.0.0.1:8090", "QUITTANCE_FCM_URL", ""},
		"the sandbox's acquirer":             {"QUITTANCE_ACQUIRER_URL=http://127.0.0.1:8090/acquirer", "", "QUITTANCE_ACQUIRER_URL"},
		"an open list of sessions":           {"QUITTANCE_MOBILE_OPEN_LIST=true", "", "QUITTANCE_MOBILE_OPEN_LIST"},
		"callbacks without TLS":              {"QUITTANCE_CALLBACK_HTTP=true", "", "QUITTANCE_CALLBACK_HTTP"},
		"callbacks to this machine":          {"QUITTANCE_CALLBACK_ALLOW=10.0.0.0/8,127.0.0.0/8", "", "127.0.0.0/8 has partners"},
		"callbacks to anywhere":              {"QUITTANCE_CALLBACK_ALLOW=0.0.0.0/0", "", "QUITTANCE_CALLBACK_ALLOW"},
		"callbacks to a private network":     {"QUITTANCE_CALLBACK_ALLOW=10.0.0.0/8", "", ""},
		"a broker without TLS":               {"AMQP_URL=amqp://u:p@broker/q", "", "AMQP_URL"},
		"one of two nodes without TLS":       {"AMQP_URL=amqps://u:p@one/q,amqp://u:p@two/q", "", "AMQP_URL"},
		"a broker on this machine":           {"AMQP_URL=amqp://u:p@127.0.0.1/q", "", ""},
		"a database without TLS":             {"DATABASE_URL=postgres://u:p@db/q?sslmode=disable", "", "DATABASE_URL"},
		"a database that may do without":     {"DATABASE_URL=postgres://u:p@db/q", "", "DATABASE_URL"},
		"a database that anybody may be":     {"DATABASE_URL=postgres://u:p@db/q?sslmode=require", "", "DATABASE_URL"},
		"one of two databases, unverified":   {"DATABASE_URL=postgres://u:p@127.0.0.1,db/q?sslmode=disable", "", "DATABASE_URL"},
		"a database by a socket":             {"DATABASE_URL=postgres:///q?host=/run/postgresql", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			refused, warned := judged(t, safe(tt.set))
			if (tt.refused == "") != (refused == "") || !strings.Contains(refused, tt.refused) {
				t.Errorf("refused: %q, want %q", refused, tt.refused)
			}
			if (tt.warned == "") != (warned == "") || !strings.Contains(warned, tt.warned) {
				t.Errorf("warned: %q, want %q", warned, tt.warned)
			}
			if refused, warned = judged(t, safe(tt.set, "QUITTANCE_ENV=development")); refused+warned != "" {
				t.Errorf("in development: %s %s", refused, warned)
			}
		})
	}
}

// judged is what api and worker say of an environment.
func judged(t *testing.T, environ map[string]string) (refused, warned string) {
	t.Helper()
	api, err := settings.Read[settings.API](environ)
	if err != nil {
		t.Fatal(err)
	}
	worker, err := settings.Read[settings.Worker](environ)
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{api.Refused(), worker.Refused()} {
		if err != nil {
			refused += fmt.Sprintln(err)
		}
	}
	return refused, strings.Join(append(api.Warnings(), worker.Warnings()...), "\n")
}

func TestThereIsNoSandboxInProduction(t *testing.T) {
	t.Parallel()
	for environment, refused := range map[string]bool{"production": true, "development": false, "test": false} {
		s, err := settings.Read[settings.Sandbox](with("QUITTANCE_ENV=" + environment))
		if err != nil || (s.Refused() != nil) != refused {
			t.Errorf("%s: %v, %v", environment, err, s.Refused())
		}
	}
}
