package invoicer

import (
	"encoding/json"
	"regexp"
	"strconv"

	"github.com/gin-gonic/gin"

	"github.com/quittance/quittance/api"
	"github.com/quittance/quittance/store"
)

const (
	maxText       = 1000     // characters
	maxExternalID = 255      // characters: it is indexed
	maxURL        = 2000     // characters
	maxEmail      = 254      // characters (RFC 5321, 4.5.3.1.3)
	maxExtraInfo  = 16 << 10 // bytes
	maxServices   = 100
	maxInterval   = 366 // days
)

type created struct {
	ID               string `json:"id"`
	PaymentPageURL   string `json:"paymentPageUrl"`
	PaymentPageURLQR string `json:"paymentPageUrlQR"`
}

// createInvoice issues an invoice, and says where it can be paid.
func (h *handlers) createInvoice(c *gin.Context, r *request) error {
	n := readInvoice(r.params, r.data)
	if err := invalid(r.wrong); err != nil {
		return err
	}
	n.ID, n.Shop = store.NewShopInvoiceID(), r.shop
	once, err := r.once(c, success(created{
		ID:               n.ID.String(),
		PaymentPageURL:   h.PublicURL + "/i/" + n.ID.String(),
		PaymentPageURLQR: h.PublicURL + "/api/qr/invoicer/" + n.ID.String(),
	}))
	if err != nil {
		return err
	}
	if err := h.Books.IssueShopInvoice(c.Request.Context(), n, once); err != nil {
		return err
	}
	return h.answer(c, r, once.Answer)
}

// readInvoice reads an invoice of any kind, and checks what must go together.
func readInvoice(params, data form) store.NewShopInvoice {
	params.require("systemType")
	data.require("externalId", "type", "description")
	checkDevice(params)
	n := store.NewShopInvoice{
		SystemType:   store.SystemType(params.oneOf("systemType", "ECOM", "P2P", "BILLER")),
		ExternalID:   data.text("externalId", maxExternalID),
		Type:         store.InvoiceType(data.oneOf("type", "PAY", "HOLD", "SUBSCRIBE")),
		Description:  data.text("description", maxText),
		Amount:       data.integer("amount", 1, store.MaxCardAmount),
		Reusable:     data.flag("reusability"),
		CardTo:       id(data.object("cardTo"), "id", store.ParseCardID),
		Services:     readServices(data),
		Interval:     int(data.integer("recurringInterval", 1, maxInterval)),
		EndsAt:       data.moment("expiresAt"),
		PayExpiresAt: data.kyivTime("payExpiresAt"),
		RedirectURL:  data.address("redirectUrl"),
		CallbackURL:  data.address("callbackUrl"),
		Email:        data.email("email"),
		ExtraInfo:    data.extraInfo(),
	}
	checkRecipient(data, n)
	checkServices(data, n)
	checkSubscription(data, n)
	return n
}

// checkRecipient lets exactly P2P name a card that gets the money.
func checkRecipient(data form, n store.NewShopInvoice) {
	if n.SystemType == store.P2P {
		data.object("cardTo").require("id")
		return
	}
	_, sent := data.sent("cardTo")
	data.check("cardTo", !sent || n.SystemType == "", notFor)
}

// checkServices holds the amount to their sum. Services are the shop's own, or those that it
// collects for.
func checkServices(data form, n store.NewShopInvoice) {
	if len(n.Services) == 0 {
		return
	}
	var sum int64 // of at most 100 amounts of at most 10^12
	for _, s := range n.Services {
		sum += s.Amount
	}
	data.check("services", n.SystemType != store.P2P && n.Type != store.Subscribe, notFor)
	data.check("services", sum <= store.MaxCardAmount, outOfRange)
	data.check("amount", n.Amount == 0 || n.Amount == sum, mismatch)
}

// checkSubscription wants to know what is charged, how often and how long. It is for one
// payer, whose card is saved.
func checkSubscription(data form, n store.NewShopInvoice) {
	if n.Type == store.Subscribe {
		data.require("amount", "recurringInterval", "expiresAt")
		data.check("reusability", !n.Reusable, notFor)
	}
}

// checkDevice accepts what the original wants to know about the payer's device, of which
// nothing is needed here.
func checkDevice(params form) {
	params.object("device")
	params.oneOf("locale", "uk", "ru", "en")
}

var (
	okpo = regexp.MustCompile(`^[0-9]{8,10}$`)
	mfo  = regexp.MustCompile(`^[0-9]{6}$`)
)

// readServices reads the positions of an invoice. One that names an account is collected
// for its owner.
func readServices(data form) (services []store.Service) {
	items, count := data.items("services", maxServices)
	for n := range count {
		f := items.object(strconv.Itoa(n))
		f.require("amount")
		s := store.Service{
			Destination:     f.text("destination", maxText),
			DestinationName: f.text("destinationName", maxText),
			Account:         f.account("iban"),
			MFO:             f.matching("mfo", mfo),
			OKPO:            f.matching("okpo", okpo),
			BankName:        f.text("bankName", maxText),
			Description:     f.text("description", maxText),
			Amount:          f.integer("amount", 1, store.MaxCardAmount),
		}
		if _, sent := f.sent("serviceId"); sent {
			serviceID := f.integer("serviceId", 0, 1<<53)
			s.ServiceID = &serviceID
		}
		if s.MFO == "" {
			s.MFO = bankOf(s.Account)
		}
		services = append(services, s)
	}
	return services
}

// bankOf is the bank's code in a Ukrainian account's number; "" where there is none.
func bankOf(account string) string {
	if len(account) < 10 || account[:2] != "UA" || !mfo.MatchString(account[4:10]) {
		return ""
	}
	return account[4:10]
}

var iban = regexp.MustCompile(`^[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}$`)

// account reads an IBAN, whose check digits must be right (ISO 13616).
func (f form) account(name string) string {
	text := f.matching(name, iban)
	f.check(name, f.wrong[f.path+name] != "" || text == "" || remainder97(text) == 1, format)
	return text
}

func remainder97(iban string) (remainder int) {
	for _, sign := range iban[4:] + iban[:4] {
		if sign >= 'A' {
			remainder = remainder*100 + int(sign-'A') + 10
		} else {
			remainder = remainder*10 + int(sign-'0')
		}
		remainder %= 97
	}
	return remainder
}

// extraInfo reads an object, or the same in a string; nil where none was sent.
func (f form) extraInfo() json.RawMessage {
	const name = "extraInfo"
	raw, sent := f.sent(name)
	if !sent || string(raw) == `""` {
		return nil
	}
	text := []byte(raw)
	if raw[0] == '"' {
		var inner string
		_ = json.Unmarshal(raw, &inner) // it is a string
		text = []byte(inner)
	}
	_, wrong := api.ParseObject(text)
	f.check(name, wrong == "" && api.Storable(text), format)
	f.check(name, len(text) <= maxExtraInfo, outOfRange)
	return text
}
