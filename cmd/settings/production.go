package settings

import (
	"errors"
	"net/netip"
	"net/url"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Refused says which settings production must not have: those that nobody can want, since they
// only stand in for something, or show card numbers to whoever listens.
func (a API) Refused() error {
	if a.Environment != Production {
		return nil
	}
	return a.Cards.refused()
}

// Refused says which settings production must not have.
func (w Worker) Refused() error {
	if w.Environment != Production {
		return nil
	}
	var stand error
	if w.FCMURL != "" {
		stand = errors.New("QUITTANCE_FCM_URL: in production it is Google that tells phones")
	}
	return errors.Join(w.Cards.refused(), stand)
}

// Refused says that there is no sandbox in production: it takes any card.
func (s Sandbox) Refused() error {
	if s.Environment != Production {
		return nil
	}
	return errors.New("QUITTANCE_ENV: there is no sandbox in production")
}

// ToldURL is the PublicURL that partners may be told: in production not the default's, which says
// that nobody has set one. Most commands need none.
func (q Quittance) ToldURL() PublicURL {
	if q.Environment == Production && !q.PublicURL.encrypted() {
		return ""
	}
	return q.PublicURL
}

func (c Cards) refused() error {
	var page, acquirer error
	if !c.PublicURL.encrypted() {
		page = errors.New("QUITTANCE_PUBLIC_URL: in production it begins with https://, since payers type card numbers there")
	}
	if u, err := url.Parse(c.AcquirerURL); err == nil && u.Scheme == "http" && !loopback(u.Hostname()) {
		acquirer = errors.New("QUITTANCE_ACQUIRER_URL: in production it begins with https://, since card numbers go there")
	}
	return errors.Join(page, acquirer)
}

// Warnings says which settings are unsafe in production, and may be meant all the same.
func (a API) Warnings() []string {
	if a.Environment != Production {
		return nil
	}
	warnings := append(a.Servers.warnings(), a.Cards.warnings()...)
	if a.MobileOpenList {
		warnings = append(warnings, "QUITTANCE_MOBILE_OPEN_LIST: anybody is shown every session id, which is a credential")
	}
	if a.CallbackHTTP {
		warnings = append(warnings, "QUITTANCE_CALLBACK_HTTP: callbacks may go out unencrypted")
	}
	return warnings
}

// Warnings says which settings are unsafe in production, and may be meant all the same.
func (w Worker) Warnings() []string {
	if w.Environment != Production {
		return nil
	}
	warnings := append(w.Servers.warnings(), w.Cards.warnings()...)
	for _, network := range w.CallbackAllow {
		if reachesOurselves(network) {
			warnings = append(warnings, "QUITTANCE_CALLBACK_ALLOW: "+network.String()+" has partners reach this machine, or its cloud's metadata")
		}
	}
	return warnings
}

func (s Servers) warnings() (warnings []string) {
	if !s.AMQPURL.encrypted() {
		warnings = append(warnings, "AMQP_URL: the connection is not encrypted: amqps:// is")
	}
	if !verified(string(s.DatabaseURL)) {
		warnings = append(warnings, "DATABASE_URL: the server's certificate is not verified: sslmode=verify-full has it so")
	}
	return warnings
}

func (c Cards) warnings() []string {
	if u, err := url.Parse(c.AcquirerURL); err == nil && u.Scheme == "http" {
		return []string{"QUITTANCE_ACQUIRER_URL: on this machine, as the sandbox is, card numbers go there unencrypted"}
	}
	return nil
}

// verified says whether all that a connection may fall back to has its certificate checked, on
// machines that are not this one.
func verified(database string) bool {
	cfg, err := pgxpool.ParseConfig(database)
	if err != nil {
		return true // which is reported elsewhere
	}
	c := cfg.ConnConfig
	ok := local(c.Host) || (c.TLSConfig != nil && !c.TLSConfig.InsecureSkipVerify)
	for _, f := range c.Fallbacks {
		ok = ok && (local(f.Host) || (f.TLSConfig != nil && !f.TLSConfig.InsecureSkipVerify))
	}
	return ok
}

// local says whether PostgreSQL is reached by a socket, or on this machine.
func local(host string) bool { return strings.HasPrefix(host, "/") || loopback(host) }

func loopback(host string) bool {
	address, err := netip.ParseAddr(host)
	return host == "localhost" || (err == nil && address.IsLoopback())
}

// reachesOurselves says whether a network has to do with the machine that calls.
func reachesOurselves(network netip.Prefix) bool {
	for _, own := range []string{"127.0.0.0/8", "169.254.0.0/16", "::1/128", "fe80::/10"} {
		if network.Overlaps(netip.MustParsePrefix(own)) {
			return true
		}
	}
	return false
}
