package paypage

import (
	"net/http"
	"strings"
	"time"
	_ "time/tzdata" // Kyiv's time where the system knows no zones

	"golang.org/x/text/language"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/money"
)

// tongue is a language that the page speaks.
type tongue struct {
	Code         string // of BCP 47
	Words        map[string]string
	point, group string // within an amount
	currency     string
	day          string // how a time is written
}

var (
	english   = &tongue{Code: "en", Words: inEnglish, point: ".", group: ",", currency: "UAH", day: "2 Jan 2006, 15:04"}
	ukrainian = &tongue{Code: "uk", Words: inUkrainian, point: ",", group: "\u00a0", currency: "грн", day: "02.01.2006, 15:04"}
)

// Whoever reads Russian only is more likely to read Ukrainian than English.
var (
	spoken  = []*tongue{english, ukrainian, ukrainian}
	matcher = language.NewMatcher([]language.Tag{language.English, language.Ukrainian, language.Russian})
)

// tongueOf is the language that a browser asks for.
func tongueOf(r *http.Request) *tongue {
	_, i := language.MatchStrings(matcher, r.Header.Get("Accept-Language"))
	return spoken[i]
}

// say puts values into a sentence, where it says {0}, {1} and so on.
func (t *tongue) say(sentence string, values ...string) string {
	said := t.Words[sentence]
	for i, v := range values {
		said = strings.ReplaceAll(said, "{"+string(rune('0'+i))+"}", v)
	}
	return said
}

// money shows minor units of 980.
func (t *tongue) money(minor int64) string {
	return money.Amount{Minor: minor, Currency: store.Hryvnia}.Format(t.point, t.group) + "\u00a0" + t.currency
}

var kyiv = func() *time.Location {
	l, err := time.LoadLocation("Europe/Kyiv")
	if err != nil {
		panic(err) // it is linked in
	}
	return l
}()

// when shows a time as Kyiv's clocks do.
func (t *tongue) when(at time.Time) string { return at.In(kyiv).Format(t.day) }

// on shows the day of a time, by Kyiv's calendar.
func (t *tongue) on(at time.Time) string {
	day, _, _ := strings.Cut(t.when(at), ",")
	return day
}

// percents shows what is charged of an amount.
func (t *tongue) percents(rate store.Tariff) string {
	return strings.Replace(rate.Percents(), ".", t.point, 1) + "%"
}

// inEnglish and inUkrainian have the same keys.
var inEnglish = map[string]string{
	"invoice": "Invoice No. {0}", "to_pay": "To pay", "amount": "Amount", "commission": "Commission", "total": "Total",
	"details": "What you pay for", "account": "Account", "card": "Card", "date": "Date", "payment_no": "Payment No.", "returned": "Returned",
	"card_form": "Card", "number": "Card number", "expiry": "Expiry, MM/YY", "code": "CVV", "code_hint": "3 digits on the back of the card",
	"pay": "Pay {0}", "reserve": "Reserve {0}", "paying": "One moment…",
	"amount_title": "How much do you want to pay?", "amount_label": "Amount, UAH", "continue": "Continue", "rate": "Commission: {0}",
	"change_amount":  "Change the amount",
	"hold_note":      "The money is reserved on your card now, and taken when the merchant completes the order.",
	"subscribe_note": "Today the card is charged {0}; then the same {1} until {2}. The card is kept by the bank for that.",
	"every_day":      "every day",
	"every_days":     "every {0} days",
	"p2p_note":       "The money is sent to the recipient's card.",
	"safe":           "The card's details go straight to the bank and are not kept here.",

	"wrong_form":   "Please check what is marked below.",
	"number_wrong": "This is not the number of a card. Please check the digits.",
	"expiry_wrong": "Enter the month and year that are on the card, as in 09/28.", "expired_wrong": "This card has expired.",
	"code_wrong":   "Enter the 3 digits from the back of the card (American Express: 4 from the front).",
	"amount_wrong": "Enter an amount in hryvnias, as in 150.00.", "amount_large_wrong": "This amount is too large.",
	"card_refused_wrong": "The bank does not know this card. Please check its number and expiry.",
	"own_card_wrong":     "This is the recipient's card. Please use another one.",
	"stale_wrong":        "This page was out of date, or the browser does not keep cookies. Nothing was charged. Please enter the card again.",
	"total_wrong":        "The total has changed meanwhile. Nothing was charged. Please check it and pay again.",

	"wait_title": "The payment is being made", "wait_text": "It takes a few seconds. This page goes on by itself; please do not pay again.",
	"pending_title": "We are waiting for the bank", "pending_text": "The bank's answer takes longer than usual. You need not wait here: the payment will be made once, or not at all. Please do not pay again.",
	"wait_again": "Look again",

	"bank_title": "Confirm the payment at your bank", "bank_text": "Your bank wants to be sure that it is you. Go on to its page; it sends you back here.",
	"bank_retry": "The bank did not accept the confirmation. You can try again.", "bank_go": "Continue to the bank",
	"lookup_title": "Enter the code from your bank", "lookup_text": "Your bank has sent you a code, or it stands in your bank's app beside this payment.",
	"lookup_label": "Code", "lookup_wrong": "The code was not right.", "lookup_go": "Confirm", "left": "Tries left: {0}", "give_up": "Cancel the payment",

	"finished_title": "Paid", "finished_text": "Thank you. {0} has your payment.",
	"held_title": "Reserved", "held_text": "{0} is reserved on your card. The merchant takes it, or lets it go, when the order is complete.",
	"reversed_title": "The money was returned", "reversed_text": "The merchant has given the payment back. It is on your card in a few days.",
	"canceled_title": "The payment was canceled", "canceled_text": "Nothing was charged.", "released_text": "What was reserved on your card has been let go.",
	"declined_title": "The payment was declined", "another_card": "Try another card", "again": "Pay again",
	"receipt_pdf": "Receipt (PDF)", "receipt_html": "Show the receipt", "to_shop": "Back to the shop", "to_payment": "Show your payment", "to_invoice": "Back to the invoice",

	"declined_declined": "The bank declined the payment. Nothing was charged.", "declined_insufficient_funds": "There is not enough money on the card. Nothing was charged.",
	"declined_wrong_code": "The payment was not confirmed. Nothing was charged.",
	"declined_other":      "The bank declined the payment: {0} Nothing was charged.",

	"paid_title": "This invoice is paid", "paid_text": "It needs no second payment.",
	"subscribed_text": "The subscription goes on by itself. Next payment: {0}.",
	"progress_title":  "This invoice is being paid", "progress_text": "Somebody is paying it at this moment. This page goes on by itself.",
	"expired_title": "This invoice can no longer be paid", "expired_text": "Its time is over. Please ask the merchant for a new one.",
	"ended_title": "This subscription has ended", "ended_text": "Nothing more will be charged.",
	"exhausted_title": "Too many cards were declined", "exhausted_text": "This invoice takes no cards for an hour. Please try again later.",
	"in_progress_title": "Your payment is being made", "in_progress_text": "It has been sent once already, and will be made once. This page goes on by itself.",

	"not_found_title": "There is nothing here", "not_found_text": "Please check the address, or ask the merchant for a new one.",
	"malformed_title": "The form could not be read", "malformed_text": "Nothing was charged. Please go back and try again.",
	"too_many_requests_title": "Too many tries", "too_many_requests_text": "Nothing was charged. Please wait a minute and try again.",
	"unavailable_title": "Payments are not possible at the moment", "unavailable_text": "Nothing was charged. Please try again in a minute.",
	"uncertain_title": "We could not see whether the payment was accepted", "uncertain_text": "Please open the invoice again: it shows whether it is being paid. Do not pay it again before that.",
	"internal_title": "Something went wrong on our side", "internal_text": "If you were about to pay, open the invoice again: it shows whether it was paid.",
}

var inUkrainian = map[string]string{
	"invoice": "Рахунок № {0}", "to_pay": "До сплати", "amount": "Сума", "commission": "Комісія", "total": "Разом",
	"details": "За що ви платите", "account": "Рахунок", "card": "Картка", "date": "Дата", "payment_no": "Платіж №", "returned": "Повернено",
	"card_form": "Картка", "number": "Номер картки", "expiry": "Діє до, ММ/РР", "code": "CVV", "code_hint": "3 цифри на звороті картки",
	"pay": "Сплатити {0}", "reserve": "Зарезервувати {0}", "paying": "Хвилинку…",
	"amount_title": "Скільки ви хочете сплатити?", "amount_label": "Сума, грн", "continue": "Продовжити", "rate": "Комісія: {0}",
	"change_amount":  "Змінити суму",
	"hold_note":      "Зараз гроші буде зарезервовано на вашій картці, а списано, коли продавець виконає замовлення.",
	"subscribe_note": "Сьогодні з картки буде списано {0}, далі стільки ж {1} до {2}. Для цього картку зберігає банк.",
	"every_day":      "щодня",
	"every_days":     "кожні {0} дн.",
	"p2p_note":       "Гроші буде переказано на картку отримувача.",
	"safe":           "Дані картки передаються одразу банку й тут не зберігаються.",

	"wrong_form":   "Перевірте, будь ласка, позначене нижче.",
	"number_wrong": "Це не номер картки. Перевірте, будь ласка, цифри.",
	"expiry_wrong": "Введіть місяць і рік, зазначені на картці, наприклад 09/28.", "expired_wrong": "Строк дії цієї картки минув.",
	"code_wrong":   "Введіть 3 цифри зі звороту картки (American Express: 4 з лицьового боку).",
	"amount_wrong": "Введіть суму в гривнях, наприклад 150,00.", "amount_large_wrong": "Ця сума завелика.",
	"card_refused_wrong": "Банк не знає такої картки. Перевірте, будь ласка, номер і строк дії.",
	"own_card_wrong":     "Це картка отримувача. Скористайтеся, будь ласка, іншою.",
	"stale_wrong":        "Сторінка застаріла, або браузер не зберігає файли cookie. Гроші не списано. Введіть, будь ласка, дані картки ще раз.",
	"total_wrong":        "Тим часом сума змінилася. Гроші не списано. Перевірте її, будь ласка, і сплатіть ще раз.",

	"wait_title": "Платіж виконується", "wait_text": "Це триває кілька секунд. Сторінка оновиться сама; не платіть, будь ласка, вдруге.",
	"pending_title": "Чекаємо на банк", "pending_text": "Відповідь банку триває довше, ніж зазвичай. Чекати тут не обов’язково: платіж буде виконано один раз або не буде зовсім. Не платіть, будь ласка, вдруге.",
	"wait_again": "Оновити",

	"bank_title": "Підтвердьте платіж у своєму банку", "bank_text": "Банк хоче переконатися, що це ви. Перейдіть на його сторінку; звідти ви повернетеся сюди.",
	"bank_retry": "Банк не прийняв підтвердження. Можна спробувати ще раз.", "bank_go": "Перейти до банку",
	"lookup_title": "Введіть код від банку", "lookup_text": "Банк надіслав вам код, або він є в застосунку банку біля цього платежу.",
	"lookup_label": "Код", "lookup_wrong": "Код неправильний.", "lookup_go": "Підтвердити", "left": "Залишилося спроб: {0}", "give_up": "Скасувати платіж",

	"finished_title": "Сплачено", "finished_text": "Дякуємо. {0} отримує ваш платіж.",
	"held_title": "Зарезервовано", "held_text": "{0} зарезервовано на вашій картці. Продавець спише або відпустить гроші, коли замовлення буде виконано.",
	"reversed_title": "Гроші повернено", "reversed_text": "Продавець повернув платіж. За кілька днів гроші будуть на вашій картці.",
	"canceled_title": "Платіж скасовано", "canceled_text": "Гроші не списано.", "released_text": "Зарезервовані на картці гроші відпущено.",
	"declined_title": "Платіж відхилено", "another_card": "Спробувати іншу картку", "again": "Сплатити ще раз",
	"receipt_pdf": "Квитанція (PDF)", "receipt_html": "Показати квитанцію", "to_shop": "Назад до магазину", "to_payment": "Показати ваш платіж", "to_invoice": "Назад до рахунку",

	"declined_declined": "Банк відхилив платіж. Гроші не списано.", "declined_insufficient_funds": "На картці недостатньо грошей. Гроші не списано.",
	"declined_wrong_code": "Платіж не підтверджено. Гроші не списано.",
	"declined_other":      "Банк відхилив платіж: {0} Гроші не списано.",

	"paid_title": "Цей рахунок сплачено", "paid_text": "Платити вдруге не потрібно.",
	"subscribed_text": "Підписка триває сама. Наступний платіж: {0}.",
	"progress_title":  "Цей рахунок зараз сплачують", "progress_text": "Хтось сплачує його саме зараз. Сторінка оновиться сама.",
	"expired_title": "Цей рахунок уже не можна сплатити", "expired_text": "Його строк минув. Попросіть, будь ласка, у продавця новий.",
	"ended_title": "Ця підписка завершилася", "ended_text": "Більше нічого не буде списано.",
	"exhausted_title": "Забагато відхилених карток", "exhausted_text": "Протягом години цей рахунок не приймає карток. Спробуйте, будь ласка, пізніше.",
	"in_progress_title": "Ваш платіж виконується", "in_progress_text": "Його вже надіслано, і його буде виконано один раз. Сторінка оновиться сама.",

	"not_found_title": "Тут нічого немає", "not_found_text": "Перевірте, будь ласка, адресу або попросіть у продавця нову.",
	"malformed_title": "Форму не вдалося прочитати", "malformed_text": "Гроші не списано. Поверніться, будь ласка, і спробуйте ще раз.",
	"too_many_requests_title": "Забагато спроб", "too_many_requests_text": "Гроші не списано. Зачекайте, будь ласка, хвилину і спробуйте ще раз.",
	"unavailable_title": "Зараз оплата неможлива", "unavailable_text": "Гроші не списано. Спробуйте, будь ласка, за хвилину.",
	"uncertain_title": "Ми не змогли з’ясувати, чи прийнято платіж", "uncertain_text": "Відкрийте, будь ласка, рахунок ще раз: там видно, чи його сплачують. До того не платіть удруге.",
	"internal_title": "У нас щось пішло не так", "internal_text": "Якщо ви саме платили, відкрийте рахунок ще раз: там видно, чи його сплачено.",
}
