package paypage

import (
	"bytes"
	"cmp"
	"embed"
	"fmt"
	"html/template"
	"net/url"
	"regexp"
	"strconv"

	"github.com/gin-gonic/gin"

	"github.com/quittance/quittance/store"
)

//go:embed page
var files embed.FS

// pages are the templates, each with the layout around it.
var pages = func() map[string]*template.Template {
	all := make(map[string]*template.Template)
	for _, name := range []string{"pay", "amount", "bank", "lookup", "notice"} {
		all[name] = template.Must(template.ParseFS(files, "page/layout.html", "page/"+name+".html"))
	}
	return all
}()

// view is what a page shows. Title and W are of all; the rest is of those that need it.
type view struct {
	W         map[string]string
	Lang      string
	Title     string
	Script    string
	Style     string
	Refresh   int    // seconds after which a browser without script loads the page again; 0 for never
	RefreshTo string // "" is where it is
	Watch     string // the address at which the script asks for State, until it is another one
	State     string

	Bill   *bill
	Wrong  map[string]string // by field; "" is the form as a whole
	Form   string            // what the form is signed with
	Action string

	Pay    string // the button
	Paying string // the button, once it was pressed
	Notes  []string
	Amount string // as the payer typed it
	Total  int64
	Tariff store.Tariff
	Back   string

	Confirmation *store.Confirmation
	TermURL      string
	MD           string
	Once         string // under which the script remembers that it has sent the payer on; "": it does not
	Text         string
	Left         string
	Cancel       string

	Notice *notice
}

// bill is the invoice, as a payer reads it.
type bill struct {
	Shop, Number, Description string
	Positions                 []position
	Sums                      []fact
	Total                     string
}

type position struct{ Name, Recipient, Account, Amount string }

type fact struct{ Label, Value string }

// notice is a page that says one thing.
type notice struct {
	Kind  string // done, failed, wait or plain
	Text  string
	Facts []fact
	Links []link
}

type link struct {
	Text, URL string
	Main      bool
	Away      bool // to somebody else's site
}

func billOf(t *tongue, in store.ShopInvoice) *bill {
	b := &bill{Shop: in.ClientName, Number: t.say("invoice", strconv.FormatInt(in.Number, 10)), Description: in.Description}
	for _, s := range in.Services {
		p := position{Name: s.Destination, Recipient: s.DestinationName, Account: s.Account, Amount: t.money(s.Amount)}
		if p.Name == "" {
			p.Name = cmp.Or(s.Description, s.DestinationName, in.Description)
		}
		b.Positions = append(b.Positions, p)
	}
	return b
}

// charge adds what the payer is to be charged.
func (b *bill) charge(t *tongue, amount, commission int64) *bill {
	b.Sums = []fact{{t.Words["amount"], t.money(amount)}, {t.Words["commission"], t.money(commission)}}
	b.Total = t.money(amount + commission)
	return b
}

// render answers with a page. bank is the one other origin that its forms may be sent to.
func (h *handlers) render(c *gin.Context, status int, name string, v view, bank string) error {
	t := tongueOf(c.Request)
	v.W, v.Lang, v.Script, v.Style = t.Words, t.Code, scriptAddress, styleAddress
	var b bytes.Buffer
	if err := pages[name].ExecuteTemplate(&b, "layout", v); err != nil {
		return fmt.Errorf("page %s: %w", name, err)
	}
	protect(c, bank)
	c.Header("Content-Language", t.Code)
	c.Header("Cache-Control", "no-store")
	c.Writer.Header().Add("Vary", "Accept-Language, Cookie")
	c.Data(status, "text/html; charset=utf-8", b.Bytes())
	return nil
}

// protect tells the browser what the page may do: nothing but load our own style, script and
// pictures, ask us, and send forms to us and, where it must, to the payer's bank.
func protect(c *gin.Context, bank string) {
	target := "'self'"
	if bank != "" {
		target += " " + bank
	}
	c.Header("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "+
		"base-uri 'none'; frame-ancestors 'none'; form-action "+target)
	c.Header("X-Content-Type-Options", "nosniff")
	c.Header("Referrer-Policy", "no-referrer")
	c.Writer.Header().Del("Access-Control-Allow-Origin") // of the APIs: no other site's script has business here
}

// hosts are those that can stand in a policy: a semicolon, which a URL's host may have, would
// begin another directive.
var hosts = regexp.MustCompile(`^[A-Za-z0-9.\-]+(:[0-9]+)?$|^\[[0-9A-Fa-f:.]+\](:[0-9]+)?$`)

// originOf is the origin of a bank's page, or "" where the address is none that a payer can
// be sent to.
func originOf(address string) string {
	u, err := url.Parse(address)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || !hosts.MatchString(u.Host) || u.User != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// tell answers with a page that says one thing.
func (h *handlers) tell(c *gin.Context, status int, v view) error {
	return h.render(c, status, "notice", v, "")
}

// toShop is the way back to the shop, where it has said one.
func toShop(t *tongue, in store.ShopInvoice, main bool) []link {
	if in.RedirectURL == "" {
		return nil
	}
	return []link{{Text: t.Words["to_shop"], URL: in.RedirectURL, Main: main, Away: true}}
}
