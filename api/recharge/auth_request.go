package recharge

import (
	"bytes"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/gin-gonic/gin"

	"github.com/quittance/quittance/api"
	"github.com/quittance/quittance/store"
)

// authParams are the parameters of a token request. One that is empty is as good as none
// (RFC 6749, 3.2). login_info is JSON.
type authParams map[string]string

// authParamNames are what is read; other parameters are ignored (RFC 6749, 3.2).
var authParamNames = []string{"grant_type", "scope", "client_id", "client_secret", "login_info", "refresh_token", "token"}

// readAuthParams reads a body of JSON or of a form.
func readAuthParams(c *gin.Context) (authParams, error) {
	body, err := api.Body(c)
	switch {
	case errors.Is(err, api.ErrTooLarge):
		return nil, &api.Refusal{Status: http.StatusRequestEntityTooLarge, Code: "too_large", Message: "The body is too large."}
	case err != nil:
		return nil, invalidRequest("The body is not UTF-8.")
	}
	p, err := parseAuthParams(c.GetHeader("Content-Type"), body)
	if err != nil {
		return nil, err
	}
	for _, name := range authParamNames {
		if name != "login_info" && !sane(p[name]) {
			return nil, invalidRequest(name + " has more than 1024 bytes, or control characters.")
		}
	}
	return p, nil
}

// parseAuthParams goes by the Content-Type, but that an object is JSON whatever it says: curl
// calls all that it sends a form.
func parseAuthParams(contentType string, body []byte) (authParams, error) {
	kind, _, _ := mime.ParseMediaType(contentType)
	switch {
	case kind == "application/json", bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("{")):
		return jsonParams(body)
	case kind == "application/x-www-form-urlencoded":
		return formParams(body)
	}
	return nil, invalidRequest("The Content-Type is application/x-www-form-urlencoded or application/json.")
}

func formParams(body []byte) (authParams, error) {
	values, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, invalidRequest("The body is not a form.")
	}
	p := authParams{}
	for name, sent := range values {
		if len(sent) > 1 {
			return nil, invalidRequest("A parameter is sent twice.")
		}
		p[name] = sent[0]
	}
	return p, nil
}

// jsonParams takes strings, and for login_info also the object itself.
func jsonParams(body []byte) (authParams, error) {
	members, wrong := api.ParseObject(body)
	if wrong != "" {
		return nil, invalidRequest("The body " + wrong + ".")
	}
	p := authParams{}
	for _, name := range authParamNames {
		text, ok := textOf(members[name])
		if !ok && name == "login_info" {
			text, ok = string(members[name]), true
		}
		if !ok {
			return nil, invalidRequest(name + " is not a string.")
		}
		p[name] = text
	}
	return p, nil
}

// textOf reads a string; null and nothing are "".
func textOf(raw json.RawMessage) (text string, ok bool) {
	if len(raw) == 0 {
		return "", true
	}
	return text, json.Unmarshal(raw, &text) == nil
}

// maxAuthParam is how many bytes of a parameter are looked at: no secret is longer.
const maxAuthParam = 1024

// sane says that a text is short and printable.
func sane(text string) bool {
	return len(text) <= maxAuthParam && utf8.ValidString(text) && !strings.ContainsFunc(text, unicode.IsControl)
}

// saneScopes is the syntax of RFC 6749, 3.3.
var saneScopes = regexp.MustCompile(`^[\x21\x23-\x5b\x5d-\x7e]+( [\x21\x23-\x5b\x5d-\x7e]+)*$`)

// scopes are those that are asked for; none stands for all.
func (p authParams) scopes() ([]string, error) {
	switch text := p["scope"]; {
	case text == "":
		return nil, nil
	case !saneScopes.MatchString(text):
		return nil, &api.Refusal{Code: "invalid_scope", Message: "scope is a list of printable ASCII names, with one space between them."}
	default:
		return strings.Split(text, " "), nil
	}
}

// login reads login_info.
func (p authParams) login() (store.Login, error) {
	if p["login_info"] == "" {
		return store.Login{}, invalidRequest("login_info is required.")
	}
	sent, wrong := api.ParseObject([]byte(p["login_info"]))
	if wrong != "" {
		return store.Login{}, invalidRequest("login_info " + wrong + ".")
	}
	kind, err := strconv.Atoi(strings.Trim(string(sent["type"]), `"`))
	l := store.Login{Type: store.LoginType(kind)}
	fields, known := loginFields(&l)
	if err != nil || !known {
		return l, invalidRequest("login_info.type is 1, 2, 3, 4 or 5.")
	}
	for name, into := range fields {
		text, ok := textOf(sent[name])
		if !ok || text == "" || !sane(text) {
			return l, invalidRequest("login_info." + name + " is a string of 1 to 1024 bytes.")
		}
		*into = text
	}
	return l, nil
}

// loginFields are the members that a login of this type needs.
func loginFields(l *store.Login) (fields map[string]*string, known bool) {
	switch l.Type {
	case store.LoginCard:
		return map[string]*string{"card": &l.Card}, true
	case store.LoginPIN:
		return map[string]*string{"pin": &l.PIN}, true
	case store.LoginPassword:
		return map[string]*string{"user": &l.Name, "pwd": &l.Password}, true
	case store.LoginCardPIN:
		return map[string]*string{"card": &l.Card, "pin": &l.PIN}, true
	case store.LoginCardPassword:
		return map[string]*string{"card": &l.Card, "pwd": &l.Password}, true
	}
	return nil, false
}
