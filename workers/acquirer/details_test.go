package acquirer_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/quittance/quittance/workers/acquirer"
)

const (
	number       = "4111111111111111"
	securityCode = "987"
	savedToken   = "saved-token"
)

var details = acquirer.Details{Number: number, Expiry: "2031-07", SecurityCode: securityCode, Token: savedToken}

// secretsIn returns what of the details a text shows, in digits or in hexadecimal.
func secretsIn(text string) (found []string) {
	for _, s := range []string{number, number[6:], securityCode, savedToken, "2031-07"} {
		for _, form := range []string{s, fmt.Sprintf("%x", s), fmt.Sprintf("%X", s)} {
			if strings.Contains(text, form) {
				found = append(found, form)
			}
		}
	}
	return found
}

func TestDetailsAreNeverShown(t *testing.T) {
	t.Parallel()
	type order struct {
		Card acquirer.Details
		Of   *acquirer.Details
	}
	values := map[string]any{
		"details":            details,
		"a pointer to them":  &details,
		"in a struct":        order{details, &details},
		"in a slice":         []acquirer.Details{details},
		"in a map":           map[string]acquirer.Details{"card": details},
		"in an error's text": fmt.Errorf("tokenise %v: %w", details, errors.ErrUnsupported),
	}
	for name, v := range values {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			shown := map[string]string{"print": fmt.Sprint(v), "println": fmt.Sprintln(v)}
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x", "% x", "%X", "%#x", "%c", "%U", "%o", "%b", "%t", "%e", "%20.3v"} {
				shown[verb] = fmt.Sprintf(verb, v)
			}
			var log bytes.Buffer
			slog.New(slog.NewJSONHandler(&log, nil)).Info("card", "of", v, slog.Group("more", "of", v))
			slog.New(slog.NewTextHandler(&log, nil)).Info("card", "of", v)
			shown["log"] = log.String()
			text, err := json.Marshal(v)
			if err != nil {
				t.Errorf("JSON: %v", err)
			}
			shown["JSON"] = string(text)
			text, _ = xml.Marshal(v) // of a map it is an error
			shown["XML"] = string(text)
			for how, text := range shown {
				if found := secretsIn(text); found != nil {
					t.Errorf("%s shows %q: %s", how, found, text)
				}
			}
		})
	}
}

func TestDetailsSayWhatTheyAre(t *testing.T) {
	t.Parallel()
	const want = "[card details]"
	if details.String() != want || details.GoString() != want || details.LogValue().String() != want {
		t.Errorf("they are shown as %q, %q, %q, want %q", details.String(), details.GoString(), details.LogValue(), want)
	}
}
