package settings

import (
	"net/netip"
	"time"

	"github.com/quittance/quittance/store"
)

// Commands are all that read settings, and what each reads.
var Commands = []struct {
	Name  string
	Reads any
}{
	{"api", API{}},
	{"worker", Worker{}},
	{"quittance", Quittance{}},
	{"sandbox", Sandbox{}},
}

// Common is for every command.
type Common struct {
	Environment Environment `env:"QUITTANCE_ENV" doc:"production refuses what is for development, and warns of what is unsafe; development, as when it is not set, completes the environment from .local/env inside a checkout; test does neither"`
}

// Servers are what api and worker cannot do without.
type Servers struct {
	DatabaseURL DatabaseURL  `env:"DATABASE_URL,required,notEmpty" doc:"PostgreSQL: postgres://user:password@host:5432/quittance?sslmode=verify-full; several hosts are allowed"`
	AMQPURL     AMQPURL      `env:"AMQP_URL,required,notEmpty" doc:"RabbitMQ: amqps://user:password@host:5671/vhost, or those of several nodes of a cluster with commas between them"`
	SecretKey   store.Secret `env:"QUITTANCE_SECRET_KEY,required,notEmpty" doc:"what is stored encrypted is encrypted with it; the same for all commands, as openssl rand -base64 32 makes one"`

	MessageGrace time.Duration `env:"QUITTANCE_MESSAGE_GRACE" envDefault:"30s" doc:"after which a message that has not been worked on counts as lost"`
}

// Cards is what api and worker must agree upon for cards to be taken.
type Cards struct {
	PublicURL       PublicURL     `env:"QUITTANCE_PUBLIC_URL" envDefault:"http://127.0.0.1:8000" doc:"of the api, as payers and the acquirer reach it; without a slash at its end"`
	AcquirerURL     string        `env:"QUITTANCE_ACQUIRER_URL" envDefault:"http://127.0.0.1:8090/acquirer" doc:"of the card acquirer; the default is the sandbox's"`
	AcquirerKey     string        `env:"QUITTANCE_ACQUIRER_KEY" doc:"the bearer token that calls of the acquirer carry; empty: none"`
	AcquirerTimeout time.Duration `env:"QUITTANCE_ACQUIRER_TIMEOUT" envDefault:"10s" doc:"of one call of the acquirer"`
}

// API is what cmd/api reads.
type API struct {
	Common
	Servers
	Cards

	HTTPAddr       string   `env:"QUITTANCE_HTTP_ADDR" envDefault:"127.0.0.1:8000" doc:"where the public APIs and the payment page listen"`
	MonitorAddr    string   `env:"QUITTANCE_API_MONITOR_ADDR" envDefault:"127.0.0.1:9101" doc:"where metrics and health of the api listen; not for the public"`
	DatabaseConns  int32    `env:"QUITTANCE_API_DATABASE_CONNS" envDefault:"8" doc:"connections of one api to PostgreSQL, at most"`
	CORSOrigins    []string `env:"QUITTANCE_CORS_ORIGINS" envDefault:"*" doc:"whose pages may call, as https://shop.example,https://office.example; * for any"`
	TrustedProxies []string `env:"QUITTANCE_TRUSTED_PROXIES" doc:"addresses and networks of the proxies whose X-Forwarded-For is believed; empty: none"`

	AccountAddRate float64       `env:"QUITTANCE_ACCOUNT_ADD_RATE" envDefault:"5" doc:"new accounts a second and address"`
	TokenRate      float64       `env:"QUITTANCE_TOKEN_RATE" envDefault:"10" doc:"requests for tokens a second and address"`
	SessionRate    float64       `env:"QUITTANCE_SESSION_RATE" envDefault:"10" doc:"new sessions of shops a second and address"`
	PageRate       float64       `env:"QUITTANCE_PAGE_RATE" envDefault:"1" doc:"card forms a second and address"`
	MobileOpenList bool          `env:"QUITTANCE_MOBILE_OPEN_LIST" envDefault:"false" doc:"GET /mobile-api/accounts/list answers anybody; it shows every session id, which is a credential"`
	CallbackHTTP   bool          `env:"QUITTANCE_CALLBACK_HTTP" envDefault:"false" doc:"callback endpoints may be plain http; for development"`
	AdmissionAge   time.Duration `env:"QUITTANCE_ADMISSION_AGE" envDefault:"15s" doc:"of the oldest command that has not been tried; past it the api answers 503"`
}

// Worker is what cmd/worker reads.
type Worker struct {
	Common
	Servers
	Cards

	MonitorAddr   string `env:"QUITTANCE_WORKER_MONITOR_ADDR" envDefault:"127.0.0.1:9102" doc:"where metrics and health of the worker listen; not for the public"`
	DatabaseConns int32  `env:"QUITTANCE_WORKER_DATABASE_CONNS" envDefault:"13" doc:"connections of one worker to PostgreSQL, at most; about one for each thing that it does at the same time"`

	CallbackAllow   []netip.Prefix `env:"QUITTANCE_CALLBACK_ALLOW" doc:"private networks that callbacks may go to, as 10.1.0.0/16,10.2.0.0/16; empty: none"`
	CallbackTimeout time.Duration  `env:"QUITTANCE_CALLBACK_TIMEOUT" envDefault:"15s" doc:"of one attempt, from the lookup of its host to the end of the answer"`

	SMTPURL  string `env:"QUITTANCE_SMTP_URL" doc:"mails receipts: smtp://user:password@host:port, or smtps://…; empty: mail is off"`
	MailFrom string `env:"QUITTANCE_MAIL_FROM" envDefault:"receipts@quittance.example" doc:"what receipts are sent from"`

	FCMCredentials Path          `env:"QUITTANCE_FCM_CREDENTIALS" doc:"file of a service account or workload identity, or default: the machine's own; empty, without QUITTANCE_FCM_URL: pushes are off"`
	FCMProject     string        `env:"QUITTANCE_FCM_PROJECT" doc:"of Firebase, if the credentials do not say which"`
	FCMURL         string        `env:"QUITTANCE_FCM_URL" doc:"in place of Google's, for development: then credentials are not needed"`
	FCMPatience    time.Duration `env:"QUITTANCE_FCM_PATIENCE" envDefault:"30s" doc:"before FCM is asked again whether it takes the credentials"`
}

// Quittance is what cmd/quittance reads.
type Quittance struct {
	Common

	DatabaseURL DatabaseURL  `env:"DATABASE_URL,required,notEmpty" doc:"PostgreSQL: postgres://user:password@host:5432/quittance?sslmode=verify-full; several hosts are allowed"`
	SecretKey   store.Secret `env:"QUITTANCE_SECRET_KEY" doc:"what is stored encrypted is encrypted with it; the same for all commands, as openssl rand -base64 32 makes one"`
	PublicURL   PublicURL    `env:"QUITTANCE_PUBLIC_URL" envDefault:"http://127.0.0.1:8000" doc:"of the api, as payers and the acquirer reach it; without a slash at its end"`
	Operator    string       `env:"QUITTANCE_OPERATOR" doc:"who the audit log says did it; empty: the system's user@host"`
}

// Sandbox is what cmd/sandbox reads.
type Sandbox struct {
	Common

	HTTPAddr    string `env:"QUITTANCE_SANDBOX_HTTP_ADDR" envDefault:"127.0.0.1:8090" doc:"where the sandbox serves the acquirer, FCM and the inboxes"`
	MailAddr    string `env:"QUITTANCE_SANDBOX_MAIL_ADDR" envDefault:"127.0.0.1:8091" doc:"where the sandbox takes mail"`
	Folder      Path   `env:"QUITTANCE_SANDBOX_DIR" doc:"where the sandbox's acquirer remembers what it holds and took; empty: nowhere"`
	AcquirerKey string `env:"QUITTANCE_ACQUIRER_KEY" doc:"the bearer token that calls of the acquirer carry; empty: none"`
}
