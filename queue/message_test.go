package queue_test

import (
	"encoding/json"
	"testing"

	"github.com/quittance/quittance/queue"
)

const someID = "0192f0c1-2d3e-7f40-8a5b-6c7d8e9fa0b1"

func TestRow(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, body string
		seq        int64 // 0: refused
	}{
		{"as published", `{"id":"` + someID + `","seq":7}`, 7},
		{"with space between the tokens", "{ \"id\": \"" + someID + "\",\n \"seq\": 7 }\n", 7},
		{"the largest seq", `{"id":"` + someID + `","seq":9223372036854775807}`, 9223372036854775807},
		{"a seq beyond 63 bits", `{"id":"` + someID + `","seq":9223372036854775808}`, 0},
		{"seq 0 is before the first", `{"id":"` + someID + `","seq":0}`, 0},
		{"a negative seq", `{"id":"` + someID + `","seq":-1}`, 0},
		{"a seq with a fraction", `{"id":"` + someID + `","seq":1.0}`, 0},
		{"a seq with an exponent", `{"id":"` + someID + `","seq":1e0}`, 0},
		{"a seq in quotes", `{"id":"` + someID + `","seq":"1"}`, 0},
		{"no seq", `{"id":"` + someID + `"}`, 0},
		{"no id", `{"seq":1}`, 0},
		{"an id that is no UUID", `{"id":"1","seq":1}`, 0},
		{"an id in upper case", `{"id":"0192F0C1-2D3E-7F40-8A5B-6C7D8E9FA0B1","seq":1}`, 0},
		{"an id without hyphens", `{"id":"0192f0c12d3e7f408a5b6c7d8e9fa0b1xxxx","seq":1}`, 0},
		{"an id with an escape", `{"id":"\u0030192f0c1-2d3e-7f40-8a5b-6c7d8e9fa0b1","seq":1}`, 0},
		{"a field that nobody knows", `{"id":"` + someID + `","seq":1,"amount":100}`, 0},
		{"seq given twice", `{"id":"` + someID + `","seq":1,"seq":2}`, 0},
		{"field names in upper case", `{"ID":"` + someID + `","SEQ":1}`, 0},
		{"more than one value", `{"id":"` + someID + `","seq":1}{}`, 0},
		{"null", `null`, 0},
		{"nothing", ``, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			id, seq, err := queue.Message{Body: []byte(tt.body)}.Row()
			if tt.seq == 0 {
				if err == nil || id != "" || seq != 0 {
					t.Errorf("Row of %s: %q, %d, %v; want an error and nothing else", tt.body, id, seq, err)
				}
				return
			}
			if err != nil || id != someID || seq != tt.seq {
				t.Errorf("Row of %s: %q, %d, %v; want %q, %d", tt.body, id, seq, err, someID, tt.seq)
			}
		})
	}
}

// FuzzRow checks that what Row accepts names one row and nothing more: encoding the
// answer gives a body that any other reader of JSON understands in the same way.
func FuzzRow(f *testing.F) {
	for _, seed := range []string{
		`{"id":"` + someID + `","seq":1}`,
		`{ "id" : "` + someID + `" , "seq" : 42 }`,
		`{"seq":1,"id":"` + someID + `"}`,
		`{"id":"` + someID + `","seq":1,"seq":2}`,
		`{"id":"` + someID + `","seq":1}x`,
		`[]`, `""`, `{}`, ``, "\x00",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		id, seq, err := queue.Message{Body: body}.Row()
		if err != nil {
			if id != "" || seq != 0 {
				t.Fatalf("Row of %q: %q, %d beside the error %v", body, id, seq, err)
			}
			return
		}
		if len(id) != 36 || seq < 1 {
			t.Fatalf("Row of %q: %q, %d", body, id, seq)
		}
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(body, &fields); err != nil || len(fields) != 2 || string(fields["id"]) != `"`+id+`"` {
			t.Fatalf("Row of %q: %q, %d; another reader sees %s, %v", body, id, seq, fields, err)
		}
	})
}
