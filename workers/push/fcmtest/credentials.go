package fcmtest

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http"
)

// Trouble is what goes wrong with every call.
type Trouble string

// A caller whose credentials are no longer taken meets one of these.
const (
	NoTrouble       Trouble = ""
	NoTokens        Trouble = "no tokens"       // the token endpoint refuses
	Unauthenticated Trouble = "unauthenticated" // 401
	Denied          Trouble = "denied"          // 403
)

// accessToken is what the token endpoint hands out.
const accessToken = "fcmtest-access-token"

// SetTrouble begins or, with NoTrouble, ends it.
func (f *FCM) SetTrouble(t Trouble) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.trouble = t
}

// Guard makes every call need a token of the token endpoint.
func (f *FCM) Guard() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.guarded = true
}

// TokenCalls is how often the token endpoint was asked.
func (f *FCM) TokenCalls() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.tokenCalls
}

func (f *FCM) token(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.tokenCalls++
	refused := f.trouble == NoTokens
	f.mu.Unlock()
	if refused || r.FormValue("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" || r.FormValue("assertion") == "" {
		writeJSON(w, http.StatusBadRequest, map[string]string{"error": "invalid_grant", "error_description": "Invalid JWT Signature."})
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"access_token": accessToken, "token_type": "Bearer", "expires_in": 3600})
}

// ServiceAccount is a service account's file that gets its tokens at tokenURL. Its key is
// fresh, and known to nobody else.
func ServiceAccount(project, tokenURL string) ([]byte, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return json.Marshal(map[string]string{
		"type": "service_account", "project_id": project, "private_key_id": "1",
		"private_key":  string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		"client_email": "push@" + project + ".iam.gserviceaccount.example", "client_id": "1", "token_uri": tokenURL,
	})
}
