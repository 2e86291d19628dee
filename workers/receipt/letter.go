package receipt

import (
	"bytes"
	"fmt"
	"net/mail"
	"strings"
	"unicode"

	gomail "github.com/wneessen/go-mail"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/money"
)

// Letter writes the mail that brings a receipt. Nobody knows which language the payer reads,
// so it is in both.
//
// The address, and the shop's name, are what somebody typed: whatever is not one address by
// itself is refused, and no text reaches a header but as one line.
func (m *Mailer) Letter(r store.ReceiptMail, pdf []byte) (*gomail.Msg, error) {
	to, err := mail.ParseAddress(r.To)
	if err != nil || to.Address != r.To || strings.ContainsFunc(r.To, unicode.IsControl) {
		return nil, &refusal{"the receipt's address is not one"}
	}
	l := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	l.FromMailAddress(&m.from)
	l.ToMailAddress(&mail.Address{Address: r.To})
	l.SetMessageIDWithValue(r.Operation.String() + "@" + domainOf(m.from))
	l.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: no answers from robots
	l.Subject(fmt.Sprintf("Квитанція / Receipt %s, %s", r.ReceiptID, oneLine(r.ClientName)))
	l.SetBodyString(gomail.TypeTextPlain, textOf(r))
	err = l.AttachReader("receipt-"+r.ReceiptID+".pdf", bytes.NewReader(pdf), gomail.WithFileContentType("application/pdf"))
	return l, err
}

const text = `Дякуємо за оплату.

Отримувач: %[1]s
Сплачено: %[5]s
Картка: %[3]s
Платіж: № %[4]d

Квитанція – у вкладеному файлі.

--------

Thank you for your payment.

Paid to: %[1]s
Charged: %[2]s
Card: %[3]s
Payment: No. %[4]d

The receipt is attached.
`

func textOf(r store.ReceiptMail) string {
	charged := money.Amount{Minor: r.Amount.Minor + r.Commission, Currency: r.Amount.Currency}
	return fmt.Sprintf(text, oneLine(r.ClientName), charged, masked(r.CardFrom.Mask), r.Number, charged.Format(",", "\u00a0")+"\u00a0грн")
}

// masked shows the digits that are known of a card.
func masked(mask string) string {
	if len(mask) != 10 {
		return mask
	}
	return mask[:6] + "******" + mask[6:]
}

// oneLine is text without whatever could end a line.
func oneLine(text string) string {
	spaced := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, text)
	return strings.Join(strings.Fields(spaced), " ")
}

func domainOf(a mail.Address) string { return a.Address[strings.LastIndex(a.Address, "@")+1:] }
