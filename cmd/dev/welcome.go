package main

import (
	"net/url"

	"github.com/jedib0t/go-pretty/v6/table"
)

const tryThese = `
Try:
  curl -s http://127.0.0.1:8000/mobile-api/account/info/99a9cc31-84a7-47f5-8f69-bd00dc91a35a
  curl -s http://127.0.0.1:8000/mobile-api/invoice/pay -H 'Prefer: wait=5' -d '{"sessionId":"99a9cc31-84a7-47f5-8f69-bd00dc91a35a","number":"f625c064-d73d-11e9-854b-0cc47a75a680","recipient":"1003a8ea371fa1c582cb6f158f8c8be7cf17cba3","amount":1000,"currencyCode":810,"description":"tea"}'
  curl -s http://127.0.0.1:8000/api/invoicer/invoices/create -d '{"params":{"sessionId":"613f7045-03a2-4bbb-8ff8-e2202e71d41f","systemType":"ECOM"},"data":{"externalId":"1","type":"PAY","description":"tea","amount":10000}}'
     and open the paymentPageUrl that it answers

Watch it, with Prometheus and its alerts on http://127.0.0.1:9090, Grafana on http://127.0.0.1:3000 (admin, admin):
  prometheus --config.file=deploy/prometheus/prometheus.yaml --storage.tsdb.path=.local/prometheus --web.listen-address=127.0.0.1:9090
  docker run --rm --network host -e GF_SERVER_HTTP_ADDR=127.0.0.1 -e PROMETHEUS_URL=http://127.0.0.1:9090 -v "$PWD/deploy/grafana/provisioning:/etc/grafana/provisioning" -v "$PWD/deploy/grafana:/var/lib/grafana/dashboards" grafana/grafana:12.2.0

Ctrl-C stops everything and keeps the data.
`

// welcome is what `dev run` shows once everything runs: where things are, and how to get
// in.
func welcome(env map[string]string) string {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.AppendHeader(table.Row{"what", "where", "with"})
	t.AppendRows([]table.Row{
		{"mobile API", "http://127.0.0.1:8000", "session 99a9cc31-84a7-47f5-8f69-bd00dc91a35a"},
		{"invoicer API, payment page", "http://127.0.0.1:8000", "clientId 1, demo-secret; cards 4111111111111111 (good), 4000000000003220 (3-D Secure, 1234)"},
		{"recharge API", "http://127.0.0.1:8000", "client demo, demo-secret; user demo, PIN 1234 or demo-password"},
		{"", "", "user clerk, PIN 4321, may only look at the providers"},
		{"every call, to try", "http://127.0.0.1:8000/docs", ""},
		{"card acquirer", "http://127.0.0.1:8090/acquirer/operations", "what it did; /acquirer/faults makes it fail"},
		{"mail inbox", "http://127.0.0.1:8090/mail/messages", "SMTP on 127.0.0.1:8091"},
		{"pushes", "http://127.0.0.1:8090/fcm/messages", "what FCM was sent for phones with a push_token"},
		{"partner's inbox", "http://127.0.0.1:8090/inbox/{name}", "POST keeps, GET shows; for callbackUrl and callback endpoints"},
		{"metrics, health", "http://127.0.0.1:9101/metrics", "api; /healthz, /readyz"},
		{"", "http://127.0.0.1:9102/metrics", "worker; the same"},
		{"PostgreSQL", address(env["DATABASE_URL"]), "DATABASE_URL in .local/env"},
		{"RabbitMQ", address(env["AMQP_URL"]), "AMQP_URL in .local/env"},
		{"logs", ".local/log, .local/run", ""},
	})
	return "\n" + t.Render() + "\n" + tryThese
}

// address is the host and port of a URL that may hold a password.
func address(of string) string {
	u, err := url.Parse(of)
	if err != nil {
		return ""
	}
	return u.Host
}
