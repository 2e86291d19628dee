package push

import (
	"strings"

	"github.com/quittance/quittance/store"
)

// tongue is a language that phones are spoken to in.
type tongue struct {
	point, group string // within an amount
	says         map[store.EventType]sentence
	because      map[store.InvoiceError]string
}

// sentence is what is said of an event; {amount} and {why} stand for themselves.
type sentence struct{ title, body string }

var tongues = map[store.Locale]*tongue{
	store.English: {
		point: ".", group: ",",
		says: map[store.EventType]sentence{
			store.EventInvoiceMade:       {"New invoice", "To pay: {amount}"},
			store.EventInvoicePaid:       {"Invoice paid", "You received {amount}"},
			store.EventInvoiceRefused:    {"Payment refused", "{amount} not paid: {why}"},
			store.EventRechargeCommitted: {"Balance topped up", "Credited: {amount}"},
		},
		because: map[store.InvoiceError]string{
			store.InsufficientFunds:      "not enough money",
			store.RecipientCannotReceive: "the recipient cannot receive it",
			store.CurrencyMismatch:       "no money in this currency",
			store.TechnicalError:         "a technical fault",
		},
	},
	store.Russian: {
		point: ",", group: "\u00a0",
		says: map[store.EventType]sentence{
			store.EventInvoiceMade:       {"Новый счёт", "К оплате: {amount}"},
			store.EventInvoicePaid:       {"Счёт оплачен", "Вы получили {amount}"},
			store.EventInvoiceRefused:    {"Платёж отклонён", "Не оплачено {amount}: {why}"},
			store.EventRechargeCommitted: {"Баланс пополнен", "Зачислено: {amount}"},
		},
		because: map[store.InvoiceError]string{
			store.InsufficientFunds:      "недостаточно средств",
			store.RecipientCannotReceive: "получатель не может принять платёж",
			store.CurrencyMismatch:       "нет средств в этой валюте",
			store.TechnicalError:         "техническая ошибка",
		},
	},
	store.Ukrainian: {
		point: ",", group: "\u00a0",
		says: map[store.EventType]sentence{
			store.EventInvoiceMade:       {"Новий рахунок", "До сплати: {amount}"},
			store.EventInvoicePaid:       {"Рахунок сплачено", "Ви отримали {amount}"},
			store.EventInvoiceRefused:    {"Платіж відхилено", "Не сплачено {amount}: {why}"},
			store.EventRechargeCommitted: {"Баланс поповнено", "Зараховано: {amount}"},
		},
		because: map[store.InvoiceError]string{
			store.InsufficientFunds:      "недостатньо коштів",
			store.RecipientCannotReceive: "отримувач не може прийняти платіж",
			store.CurrencyMismatch:       "немає коштів у цій валюті",
			store.TechnicalError:         "технічна помилка",
		},
	},
}

// tongueOf is English where nobody speaks the locale.
func tongueOf(l store.Locale) *tongue {
	if t, known := tongues[l]; known {
		return t
	}
	return tongues[store.English]
}

// tell puts a push into words. What the parties wrote about it stands on a line of its own.
func (t *tongue) tell(p store.Push) (title, body string) {
	s := t.says[p.Type]
	amount := p.Amount.Format(t.point, t.group) + "\u00a0" + p.Amount.Currency.Alpha()
	body = strings.NewReplacer("{amount}", amount, "{why}", t.because[p.Error]).Replace(s.body)
	if about := strings.TrimSpace(p.Description); about != "" {
		body += "\n" + cut(about, maxText)
	}
	return s.title, body
}
