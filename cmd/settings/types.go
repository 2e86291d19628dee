package settings

import (
	"errors"
	"net/url"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Environment says what an installation is for. It has no …_FILE: it decides on more than settings,
// and what asks for it before they are read would take a production for none.
type Environment string

// Production is where nothing of development may be.
const Production Environment = "production"

// UnmarshalText takes the three that there are: a misspelt production would be none.
func (e *Environment) UnmarshalText(text []byte) error {
	switch string(text) {
	case "production", "development", "test":
		*e = Environment(text)
		return nil
	}
	return errors.New("it must be production, development or test")
}

// Path names a file or a folder. It has no …_FILE of its own: nobody could tell whether that holds
// a path or what is to be found there.
type Path string

// DatabaseURL is where PostgreSQL is.
type DatabaseURL string

// UnmarshalText takes what pgx takes. What pgx says of the rest may show a part of the password.
func (d *DatabaseURL) UnmarshalText(text []byte) error {
	if _, err := pgxpool.ParseConfig(string(text)); err != nil {
		return errors.New("its special characters must be percent-encoded, its parameters known, and its certificates readable")
	}
	*d = DatabaseURL(text)
	return nil
}

// AMQPURL is where RabbitMQ is: the URL of one node, or those of several of a cluster with commas
// between them.
type AMQPURL string

// UnmarshalText takes addresses of a broker.
func (a *AMQPURL) UnmarshalText(text []byte) error {
	for node := range strings.SplitSeq(string(text), ",") {
		u, err := url.Parse(node)
		if err != nil || (u.Scheme != "amqp" && u.Scheme != "amqps") || u.Hostname() == "" {
			return errors.New("each begins with amqp:// or amqps:// and has a host, and special characters must be percent-encoded")
		}
	}
	*a = AMQPURL(text)
	return nil
}

// encrypted says whether all that is sent to other machines is.
func (a AMQPURL) encrypted() bool {
	for node := range strings.SplitSeq(string(a), ",") {
		if u, err := url.Parse(node); err == nil && u.Scheme == "amqp" && !loopback(u.Hostname()) {
			return false
		}
	}
	return true
}

// PublicURL is what the addresses that we give away begin with.
type PublicURL string

// UnmarshalText accepts where a browser may be sent to. What it is followed by begins with a
// slash, so it ends without.
func (p *PublicURL) UnmarshalText(text []byte) error {
	u, err := url.Parse(string(text))
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" || u.User != nil ||
		strings.ContainsAny(string(text), "?#") || strings.HasSuffix(string(text), "/") {
		return errors.New("the public URL is not an http or https URL of a host, without a slash at its end")
	}
	*p = PublicURL(text)
	return nil
}

func (p PublicURL) encrypted() bool { return strings.HasPrefix(string(p), "https://") }
