package queuetest

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// broker is the management API, which does what AMQP cannot.
type broker struct{ base *url.URL }

func management(t testing.TB) broker {
	t.Helper()
	base, err := url.Parse(env(t, "RABBITMQ_MANAGEMENT_URL"))
	if err != nil {
		t.Fatal("RABBITMQ_MANAGEMENT_URL is not a URL")
	}
	return broker{base}
}

// Queue is what the broker says about a queue's declaration.
type Queue struct {
	Name      string         `json:"name"`
	Type      string         `json:"type"`
	Durable   bool           `json:"durable"`
	Arguments map[string]any `json:"arguments"`
}

// Queues lists the queues of a virtual host by name.
func Queues(t testing.TB, amqpURL string) map[string]Queue {
	t.Helper()
	var list []Queue
	management(t).read(t, "/api/queues/"+vhost(t, amqpURL)+"?columns=name,type,durable,arguments", &list)
	byName := make(map[string]Queue, len(list))
	for _, q := range list {
		byName[q.Name] = q
	}
	return byName
}

// Exchanges lists the exchanges of a virtual host that somebody has declared: their
// types by their names.
func Exchanges(t testing.TB, amqpURL string) map[string]string {
	t.Helper()
	var list []struct{ Name, Type string }
	management(t).read(t, "/api/exchanges/"+vhost(t, amqpURL), &list)
	types := make(map[string]string)
	for _, x := range list {
		if x.Name != "" && !strings.HasPrefix(x.Name, "amq.") {
			types[x.Name] = x.Type
		}
	}
	return types
}

// Binding is one way from an exchange to a queue.
type Binding struct {
	Exchange string `json:"source"`
	Key      string `json:"routing_key"`
	Queue    string `json:"destination"`
}

// Bindings lists the bindings of a virtual host, but for those of the default exchange.
func Bindings(t testing.TB, amqpURL string) []Binding {
	t.Helper()
	var list, declared []Binding
	management(t).read(t, "/api/bindings/"+vhost(t, amqpURL), &list)
	for _, b := range list {
		if b.Exchange != "" {
			declared = append(declared, b)
		}
	}
	return declared
}

// Limit makes a queue refuse what comes when it already has n messages, by a policy.
// It returns when the policy is in force.
func Limit(t testing.TB, amqpURL, name string, n int) {
	t.Helper()
	policy := map[string]any{
		"pattern":    "^" + strings.ReplaceAll(name, ".", `\.`) + "$",
		"apply-to":   "queues", // RabbitMQ 3.10 knows no quorum_queues here
		"definition": map[string]any{"max-length": n},
	}
	m, at := management(t), vhost(t, amqpURL)
	m.must(t, "PUT", "/api/policies/"+at+"/limit", policy)
	t.Cleanup(func() { m.must(t, "DELETE", "/api/policies/"+at+"/limit", nil) })

	until(t, "the policy did not come into force", func() bool {
		var q struct{ Policy string }
		m.read(t, "/api/queues/"+at+"/"+url.PathEscape(name), &q)
		return q.Policy == "limit"
	})
}

// Limited makes a user who may configure, write and read only the names that a regular
// expression fits, and returns the virtual host's URL with that user.
func Limited(t testing.TB, amqpURL, names string) string {
	t.Helper()
	u, err := url.Parse(amqpURL)
	if err != nil {
		t.Fatal("the AMQP URL is not a URL")
	}
	name, password := "test-"+strings.ToLower(rand.Text()), rand.Text()
	m := management(t)
	m.must(t, "PUT", "/api/users/"+name, map[string]string{"password": password, "tags": ""})
	t.Cleanup(func() { m.must(t, "DELETE", "/api/users/"+name, nil) })
	m.must(t, "PUT", "/api/permissions/"+vhost(t, amqpURL)+"/"+name, map[string]string{"configure": names, "write": names, "read": names})
	u.User = url.UserPassword(name, password)
	return u.String()
}

// CloseConnections closes every connection to the virtual host, as an operator would,
// and waits for there to be one. For a cut at a chosen moment use a Proxy.
func CloseConnections(t testing.TB, amqpURL string) {
	t.Helper()
	m, at := management(t), vhost(t, amqpURL)
	until(t, "there was no connection to close", func() bool {
		var list []struct{ Name string }
		m.read(t, "/api/vhosts/"+at+"/connections?columns=name", &list)
		for _, c := range list {
			m.must(t, "DELETE", "/api/connections/"+url.PathEscape(c.Name), nil)
		}
		return len(list) > 0
	})
}

// until polls, for what the management API can only be asked.
func until(t testing.TB, complaint string, done func() bool) {
	t.Helper()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	deadline := time.After(Patience)
	for !done() {
		select {
		case <-poll.C:
		case <-deadline:
			t.Fatal(complaint)
		}
	}
}

func vhost(t testing.TB, amqpURL string) string {
	t.Helper()
	u, err := url.Parse(amqpURL)
	if err != nil {
		t.Fatal("the AMQP URL is not a URL")
	}
	return url.PathEscape(strings.TrimPrefix(u.Path, "/"))
}

func (b broker) read(t testing.TB, path string, into any) {
	t.Helper()
	if err := json.Unmarshal(b.must(t, "GET", path, nil), into); err != nil {
		t.Fatalf("GET %s: %v", path, err)
	}
}

// must asks the broker and returns its answer. What is already gone need not be
// deleted.
func (b broker) must(t testing.TB, method, path string, body any) []byte {
	t.Helper()
	var content bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&content).Encode(body); err != nil {
			t.Fatalf("%s %s: %v", method, path, err)
		}
	}
	// Put together as text: a name may hold an escaped slash, which URL.Path would lose.
	address := b.base.Scheme + "://" + b.base.Host + path
	request, err := http.NewRequest(method, address, &content)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	password, _ := b.base.User.Password()
	request.SetBasicAuth(b.base.User.Username(), password)
	request.Header.Set("Content-Type", "application/json")
	request.Close = true // an idle connection would look like a leak

	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatalf("%s %s: is the management plugin on? %v", method, path, err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	gone := method == "DELETE" && answer.StatusCode == http.StatusNotFound
	if answer.StatusCode >= 300 && !gone {
		t.Fatalf("%s %s: %s: %s", method, path, answer.Status, text)
	}
	return text
}
