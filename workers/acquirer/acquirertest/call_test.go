package acquirertest

import (
	"encoding/json"
	"testing"
)

// Whatever is sent, it is refused or a call of its name; and what is a call is the same call
// when it is written and read again.
func FuzzDecode(f *testing.F) {
	f.Add("authorise", []byte(`{"id":"a","payment":"p","amount":100,"currency":980,"token":"t","capture":true,"unattended":false,"notify_url":"http://127.0.0.1/"}`))
	f.Add("tokenise", []byte(`{"id":"a","number":"4111111111111111","expiry":"2031-07","security_code":"987"}`))
	f.Add("confirm", []byte(`{"id":"a","payment":"p","of":"b","code":"1234"}`))
	f.Add("capture", []byte(`{"id":"a","payment":"p","of":"b","amount":1,"currency":980}`))
	f.Add("inquire", []byte(`{"id":"a"}{}`))
	f.Add("dance", []byte(`{"id":"a","Name":"void"}`))
	f.Fuzz(func(t *testing.T, name string, body []byte) {
		once, err := decode(name, body)
		if err != nil {
			return
		}
		if once.Name != name || once.ID == "" || once.Amount < 0 {
			t.Fatalf("%s %q is %+v", name, body, once)
		}
		again, err := json.Marshal(once)
		if err != nil {
			t.Fatal(err)
		}
		twice, err := decode(name, again)
		if err != nil || twice != once || twice.fingerprint() != once.fingerprint() {
			t.Errorf("%s %q becomes %+v, then %+v, %v", name, body, once, twice, err)
		}
	})
}
