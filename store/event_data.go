package store

import (
	"encoding/json"
	"strconv"
	"time"
)

// What an event says is what the API of whoever it is for shows, member for member.

// shownTime is how the APIs show a time.
const shownTime = "2006-01-02T15:04:05.000Z"

func shown(t time.Time) string { return t.UTC().Format(shownTime) }

// walletInvoice is an invoice that is paid from a wallet, as the mobile API shows it.
type walletInvoice struct {
	Number       InvoiceNumber `json:"number"`
	Amount       int64         `json:"amount"` // minor units
	CurrencyCode int           `json:"currencyCode"`
	Description  string        `json:"description"`
	Payer        string        `json:"payer"`     // account number
	Recipient    string        `json:"recipient"` // account number
	State        InvoiceState  `json:"state"`
}

func (o order) shown(state InvoiceState) walletInvoice {
	return walletInvoice{
		Number: o.number, Amount: o.amount.Minor, CurrencyCode: int(o.amount.Currency), Description: o.description,
		Payer: o.payerNumber, Recipient: o.recipientNumber, State: state,
	}
}

// paid is the event of an order that was settled. The recipient's phone is told.
func (o order) paid(at time.Time) event {
	e := event{kind: EventInvoicePaid, resource: o.number, at: at, data: o.shown(Paid), trace: o.trace}
	if o.recipientPhone {
		e.phone = o.recipient
	}
	return e
}

// refusedInvoice is one whose payment was refused.
type refusedInvoice struct {
	walletInvoice
	ErrorCode InvoiceError `json:"errorCode"`
}

// refused is the event of an order that was not settled. Nobody but the payer's phone is told.
func (e paymentEnd) refused(at time.Time) event {
	return event{
		kind: EventInvoiceRefused, resource: e.number, at: at, phone: e.payer, trace: e.trace,
		data: refusedInvoice{e.shown(AwaitingPayment), e.refusal.invoice},
	}
}

// made is the event of a new invoice. Nobody but its payer's phone is told.
func (n NewInvoice) made(p parties) event {
	return event{kind: EventInvoiceMade, resource: n.Number, at: p.issuer.Now, phone: p.payer.ID, data: walletInvoice{
		Number: n.Number, Amount: n.Amount.Minor, CurrencyCode: int(n.Amount.Currency), Description: n.Description,
		Payer: p.payer.Number, Recipient: p.recipient.Number, State: AwaitingPayment,
	}}
}

// endedRecharge is a recharge that came to its end, as its API shows it.
type endedRecharge struct {
	ID          RechargeID    `json:"id"`
	PaymentNo   int64         `json:"paymentNo"`
	Provider    string        `json:"provider"`
	UserID      int64         `json:"userId"`
	Amount      json.Number   `json:"amount"` // whole units
	Currency    string        `json:"currency"`
	Description string        `json:"description"`
	State       RechargeState `json:"state"`
	Created     string        `json:"created"`
	Updated     string        `json:"updated"`
}

var eventOfRecharge = map[RechargeState]EventType{
	RechargeCommitted:  EventRechargeCommitted,
	RechargeRolledBack: EventRechargeRolledBack,
	RechargeExpired:    EventRechargeExpired,
}

// ended is the event of a recharge that was committed, rolled back or expired. The owner's phone
// is told of what was credited.
func (e topUpEnd) ended(at, deciding time.Time) event {
	r := e.recharge
	phone := int64(0)
	if e.phone && e.state == RechargeCommitted {
		phone = r.Account
	}
	return event{phone: phone, kind: eventOfRecharge[e.state], client: r.client, resource: r.ID, at: at, trace: e.trace, data: endedRecharge{
		ID: r.ID, PaymentNo: r.PaymentNo, Provider: r.Provider, UserID: r.Account,
		Amount: json.Number(r.Amount.Decimal()), Currency: r.Amount.Currency.Alpha(), Description: r.Description,
		State: e.state, Created: shown(r.CreatedAt), Updated: shown(deciding),
	}}
}

// told is what a payment's shop is told beyond what a step changes.
type told struct {
	number      int64
	createdAt   time.Time
	externalID  string
	extraInfo   json.RawMessage // as the shop sent it
	callbackURL string          // "" for none
	cardFrom    string          // masked
	cardTo      *string         // masked; nil but for P2P
}

// changedPayment is a payment by card as the original's callback has it, in its order, after
// the change. Commission, ReversedAmount and Currency are as invoices/show has them. The
// receipt is there once the payment is finished.
type changedPayment struct {
	PaymentID      PaymentID     `json:"paymentId"`
	InvoiceID      InvoiceNumber `json:"invoiceId"`
	ExternalID     string        `json:"externalId"`
	PaymentNumber  int64         `json:"paymentNumber"`
	CardFromMasked string        `json:"cardFromMasked"`
	CardToMasked   *string       `json:"cardToMasked"`
	Amount         int64         `json:"amount"`
	Commission     int64         `json:"commission"`
	Status         string        `json:"status"`
	Type           InvoiceType   `json:"type"`
	SystemType     SystemType    `json:"systemType"`
	PaymentStatus  string        `json:"paymentStatus"`
	ReversedAmount int64         `json:"reversedAmount"`
	ReceiptPath    string        `json:"receiptPath"`
	ExtraInfo      string        `json:"extraInfo"`
	CreateDate     string        `json:"createDate"`
	PayDate        *string       `json:"payDate"`
	Currency       string        `json:"currency"`
}

// changed is the event of a payment by card that somebody is told of.
func (s *Store) changed(p *lockedPayment, at time.Time) event {
	d := changedPayment{
		PaymentID: p.id, InvoiceID: p.invoice, ExternalID: p.told.externalID, PaymentNumber: p.told.number,
		CardFromMasked: p.told.cardFrom, CardToMasked: p.told.cardTo, Amount: p.amount, Commission: p.commission,
		Status: statusOf[p.paymentStatus], Type: p.kind, SystemType: p.systemType, PaymentStatus: p.paymentStatus,
		ReversedAmount: p.reversed, ReceiptPath: s.publicURL + "/api/acquiring/receipts/v2/" + p.id.String() + ".pdf",
		ExtraInfo: shownExtraInfo(p.told.extraInfo), CreateDate: shown(p.told.createdAt), Currency: strconv.Itoa(int(p.currency)),
	}
	if p.paidAt != nil {
		paid := shown(*p.paidAt)
		d.PayDate = &paid
	}
	return event{
		kind: p.event, client: p.client, resource: p.id, at: at, data: d, callbackURL: p.told.callbackURL, invoice: p.invoice, trace: p.trace,
	}
}

// shownExtraInfo is the text of what invoices/show has as an object: what the shop sent, and
// where the invoice comes from.
func shownExtraInfo(sent json.RawMessage) string {
	members := make(map[string]json.RawMessage)
	_ = json.Unmarshal(sent, &members) // the schema has objects only
	members["origin"] = json.RawMessage(`"invoicer"`)
	text, _ := plainJSON(members) // what was decoded can be encoded
	return text
}

// endedSubscription is a subscription that will not be charged any more.
type endedSubscription struct {
	client      int64
	invoice     InvoiceNumber
	externalID  string
	callbackURL string
	reason      string // expired; or declined, once too often
	at          time.Time
	ended       time.Time // by the deciding time
	trace       string
}

// inactiveSubscription is what its shop is told of it.
type inactiveSubscription struct {
	InvoiceID  InvoiceNumber `json:"invoiceId"`
	ExternalID string        `json:"externalId"`
	Status     string        `json:"status"`
	Reason     string        `json:"reason"`
	EndDate    string        `json:"endDate"`
}

func (u endedSubscription) event() event {
	return event{
		kind: EventSubscriptionEnded, client: u.client, resource: u.invoice, at: u.at, callbackURL: u.callbackURL, invoice: u.invoice, trace: u.trace,
		data: inactiveSubscription{
			InvoiceID: u.invoice, ExternalID: u.externalID, Status: "INACTIVE", Reason: u.reason, EndDate: shown(u.ended),
		},
	}
}

// eventsOf are what shops are told of: first the payments, then what came of them.
func (s *Store) eventsOf(d cardDecisions) (events []event) {
	for _, p := range d.payments {
		if p.event != "" {
			events = append(events, s.changed(p, d.now))
		}
	}
	for _, u := range d.ended {
		events = append(events, u.event())
	}
	return events
}
