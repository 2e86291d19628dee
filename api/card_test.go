package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestNothingIsShownOfACard(t *testing.T) {
	t.Parallel()
	secrets := CardDetails{Number: "4111111111111111", Expiry: "2031-12", SecurityCode: "7531", Token: "tok-9"}
	shown := map[string]string{"String": secrets.String(), "GoString": secrets.GoString()}
	for _, v := range []any{secrets, &secrets, []CardDetails{secrets}, map[string]any{"a": secrets}, struct{ Card CardDetails }{secrets}} {
		for _, verb := range "vTtbcdoOqxXUeEfFgGs" { // p and w ask no method, and go vet refuses them
			for _, flags := range []string{"", "+", "#", " ", "-5", "08.3"} {
				format := "%" + flags + string(verb)
				shown[fmt.Sprintf("%T as %s", v, format)] = fmt.Sprintf(format, v)
			}
		}
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		shown[fmt.Sprintf("%T as JSON", v)] = string(text)
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("x", "card", v)
		slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "card", v, slog.Group("g", "card", v))
		shown[fmt.Sprintf("%T in a log", v)] = log.String()
	}
	shown["an error"] = fmt.Errorf("tokenise %v", secrets).Error()
	shown["Sprint"] = fmt.Sprint(secrets, &secrets) + fmt.Sprintln(secrets)
	for how, text := range shown {
		for _, secret := range []string{"4111", "1111", "2031", "7531", "tok-9", fmt.Sprintf("%x", "4111")} {
			if strings.Contains(strings.ToLower(text), secret) {
				t.Errorf("%s shows %s: %s", how, secret, text)
			}
		}
	}
}
