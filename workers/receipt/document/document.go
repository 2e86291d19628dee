// Package document makes the receipt of a payment by card: a PDF to keep, in Ukrainian and
// English, and a page of HTML in either.
//
// The same receipt always gives the same bytes. Of a card only the first six and the last
// four digits are known here.
//
// Known hole: letters are neither shaped nor turned around, so Arabic or Hebrew in a shop's
// text can be read only with effort; what the font has no picture of is a box.
package document

import (
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // Kyiv's time where the system knows no zones
	"unicode"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/money"
)

// label is a caption, by language.
type label struct{ uk, en string }

func (l label) in(language string) string {
	if language == "uk" {
		return l.uk
	}
	return l.en
}

// fact is one line of a receipt.
type fact struct {
	Label label
	Value string
}

// position is one of the services that were paid for.
type position struct {
	Name    string
	Details []fact
	Amount  string
}

// content is all that a receipt shows, whatever it is written on.
type content struct {
	Number    string // of the receipt
	Facts     []fact
	Positions []position
	Sums      []fact // the last is what the card was charged
	Returned  []fact // what was given back since
}

var (
	receiptTitle  = label{"Квитанція", "Receipt"}
	positionsHead = label{"Призначення", "Paid for"}
	amountHead    = label{"Сума, грн", "Amount, UAH"}
)

func contentOf(r store.Receipt, language string) content {
	c := content{Number: r.ReceiptID, Facts: factsOf(r, language)}
	for _, s := range r.Services {
		c.Positions = append(c.Positions, positionOf(s, language))
	}
	c.Sums = []fact{
		{label{"Сума", "Amount"}, hryvnias(r.Amount.Minor, language)},
		{label{"Комісія", "Commission"}, hryvnias(r.Commission, language)},
		{label{"Усього сплачено", "Total paid"}, hryvnias(r.Amount.Minor+r.Commission, language)},
	}
	if r.GivenBack() > 0 {
		c.Returned = append(c.Returned, fact{label{"Повернено платникові", "Returned to the payer"}, hryvnias(r.GivenBack(), language)})
	}
	if r.ReversedAt != nil {
		c.Returned = append(c.Returned, fact{label{"Повернено повністю", "Returned in full"}, when(*r.ReversedAt)})
	}
	return c
}

func factsOf(r store.Receipt, language string) []fact {
	facts := []fact{
		{label{"Номер квитанції", "Receipt number"}, r.ReceiptID},
		{label{"Номер платежу", "Payment number"}, strconv.FormatInt(r.Number, 10)},
		{label{"Номер рахунку", "Invoice number"}, strconv.FormatInt(r.InvoiceNumber, 10)},
		{label{"Отримувач", "Merchant"}, r.ClientName},
		{label{"Призначення платежу", "Description"}, r.Description},
		{label{"Створено", "Created"}, when(r.CreatedAt)},
	}
	if r.FinishedAt != nil {
		facts = append(facts, fact{label{"Сплачено", "Paid"}, when(*r.FinishedAt)})
	}
	facts = append(facts,
		fact{label{"Картка платника", "Payer's card"}, mask(r.CardFrom.Mask)},
		fact{label{"Картка отримувача", "Recipient's card"}, mask(r.CardTo.Mask)},
		fact{label{"Операція списання", "Sending operation"}, r.SendOperationID},
		fact{label{"Операція зарахування", "Receiving operation"}, r.ReceiveOperationID})
	return said(facts)
}

func positionOf(s store.Service, language string) position {
	p := position{Name: clean(s.Destination), Amount: hryvnias(s.Amount, language)}
	if p.Name == "" {
		p.Name = clean(s.Description)
	}
	if clean(s.Description) == p.Name {
		s.Description = "" // once is enough
	}
	p.Details = said([]fact{
		{label{"Отримувач", "Recipient"}, s.DestinationName},
		{label{"Рахунок", "Account"}, s.Account},
		{label{"Банк", "Bank"}, s.BankName},
		{label{"МФО", "Bank code"}, s.MFO},
		{label{"ЄДРПОУ", "Company code"}, s.OKPO},
		{label{"Опис", "Details"}, s.Description},
	})
	return p
}

// said leaves out what there is nothing to say about, and cleans the rest.
func said(facts []fact) []fact {
	var kept []fact
	for _, f := range facts {
		if f.Value = clean(f.Value); f.Value != "" {
			kept = append(kept, f)
		}
	}
	return kept
}

// noPicture stands for what no font of ours can have.
const noPicture = '□'

// clean makes a text printable: one line, of characters that a PDF's font can number.
func clean(text string) string {
	printable := strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r), unicode.IsControl(r):
			return ' '
		case r > 0xFFFF, r == unicode.ReplacementChar:
			return noPicture
		}
		return r
	}, text)
	return strings.Join(strings.Fields(printable), " ")
}

// hryvnias shows minor units of 980. The space between thousands is one that does not break.
func hryvnias(minor int64, language string) string {
	amount := money.Amount{Minor: minor, Currency: store.Hryvnia}
	if language == "uk" {
		return amount.Format(",", "\u00a0") + "\u00a0грн"
	}
	return amount.Format(".", ",") + "\u00a0UAH"
}

// mask shows the ten digits that are known of a card.
func mask(digits string) string {
	if len(digits) != 10 {
		return ""
	}
	return digits[:6] + "••••••" + digits[6:]
}

var kyiv = func() *time.Location {
	l, err := time.LoadLocation("Europe/Kyiv")
	if err != nil {
		panic(err) // it is linked in
	}
	return l
}()

// when shows a time as Kyiv's clocks do.
func when(t time.Time) string { return t.In(kyiv).Format("02.01.2006 15:04:05") }
