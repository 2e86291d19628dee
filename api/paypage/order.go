package paypage

import (
	"errors"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/quittance/quittance/api"
	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/money"
)

// order is what a payer asks for with a form.
type order struct {
	Amount int64 // minor units, of an invoice whose amount is open; 0: the invoice's
	Total  int64 // minor units, as the payer saw them
	Card   api.CardDetails
}

// mask is what of the order's card may be known.
func (o order) mask() string { return o.Card.Number[:6] + o.Card.Number[len(o.Card.Number)-4:] }

// wrongs are the fields of a form that are not as they must be, with what is wrong. "" is the
// form as a whole.
type wrongs map[string]wrong

// wrong says what is wrong; its sentence is in the words of each language.
type wrong string

const (
	numberWrong  wrong = "number"
	expiryWrong  wrong = "expiry"
	expiryPassed wrong = "expired"
	codeWrong    wrong = "code"
	amountWrong  wrong = "amount"
	amountLarge  wrong = "amount_large"
	cardRefused  wrong = "card_refused"
	ownCard      wrong = "own_card"
	formStale    wrong = "stale"
	totalChanged wrong = "total"
)

// readOrder reads the payer's form. The order is whole only where nothing is wrong.
func readOrder(form url.Values, in store.ShopInvoice) (order, wrongs) {
	o, found := order{}, wrongs{}
	note := func(field string, w wrong) {
		if w != "" {
			found[field] = w
		}
	}
	var w wrong
	if in.Amount == 0 {
		o.Amount, w = readAmount(form.Get("amount"))
		note("amount", w)
	}
	o.Card.Number, w = readNumber(form.Get("number"))
	note("number", w)
	o.Card.Expiry, w = readExpiry(form.Get("expiry"), in.Now)
	note("expiry", w)
	o.Card.SecurityCode, w = readCode(form.Get("code"), o.Card.Number)
	note("code", w)
	o.Total, _ = strconv.ParseInt(form.Get("total"), 10, 64)
	if len(found) == 0 && o.Total != totalOf(in, o.Amount) {
		note("", totalChanged)
	}
	return o, found
}

// totalOf is what a card is charged.
func totalOf(in store.ShopInvoice, amount int64) int64 {
	if in.Amount != 0 {
		amount = in.Amount
	}
	return amount + in.Commission(amount)
}

// typedAmount is hryvnias with at most two decimals; people write them with a point or a comma.
var typedAmount = regexp.MustCompile(`^[0-9]{1,15}([.,][0-9]{1,2})?$`)

// readAmount reads hryvnias, exactly.
func readAmount(text string) (int64, wrong) {
	text = withoutSpaces.Replace(text)
	if !typedAmount.MatchString(text) {
		return 0, amountWrong
	}
	text = strings.TrimLeft(strings.ReplaceAll(text, ",", "."), "0")
	if text == "" || text[0] == '.' {
		text = "0" + text
	}
	number, err := money.ParseDecimal(text)
	if err != nil {
		return 0, amountWrong
	}
	amount, err := number.In(store.Hryvnia)
	switch {
	case errors.Is(err, money.ErrOverflow), amount.Minor > store.MaxCardAmount:
		return 0, amountLarge
	case err != nil:
		return 0, amountWrong
	}
	return amount.Minor, ""
}

var withoutSpaces = strings.NewReplacer(" ", "", "\u00a0", "", "\u202f", "")

func readNumber(text string) (string, wrong) {
	digits := strings.ReplaceAll(withoutSpaces.Replace(text), "-", "")
	if !api.IsCardNumber(digits) {
		return "", numberWrong
	}
	return digits, ""
}

var typedExpiry = regexp.MustCompile(`^(0[1-9]|1[0-2])/?(?:20)?([0-9]{2})$`)

// readExpiry reads MM/YY, which browsers that fill it in write as MM/YYYY, too. A card is good
// until its month ends.
func readExpiry(text string, now time.Time) (string, wrong) {
	parts := typedExpiry.FindStringSubmatch(withoutSpaces.Replace(text))
	if parts == nil {
		return "", expiryWrong
	}
	expiry := "20" + parts[2] + "-" + parts[1]
	if _, past := api.CardExpiry(expiry, now); past {
		return "", expiryPassed
	}
	return expiry, ""
}

var securityCode = regexp.MustCompile(`^[0-9]{3,4}$`)

// readCode reads a security code: four digits on American Express, three elsewhere.
func readCode(text, number string) (string, wrong) {
	want := 3
	if strings.HasPrefix(number, "34") || strings.HasPrefix(number, "37") {
		want = 4
	}
	if !securityCode.MatchString(text) || number != "" && len(text) != want {
		return "", codeWrong
	}
	return text, ""
}
