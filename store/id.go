package store

import (
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"
)

// ID is a UUID that names one kind of row, so that ids of different kinds cannot be
// mixed. The zero ID names nothing and is NULL in the database.
type ID[Kind any] [16]byte

type (
	// OperationID is random enough (version 7) to be the permission to read its operation.
	OperationID = ID[operationKind]
	// InvoiceNumber is a UUID version 1, as the original's.
	InvoiceNumber = ID[invoiceKind]

	// RechargeID is random enough (version 7) not to be guessed.
	RechargeID = ID[rechargeKind]

	// PaymentID, CardID and IntentID are random enough (version 4) not to be guessed: a payment's
	// is the permission to see its receipt.
	PaymentID = ID[paymentKind]
	CardID    = ID[cardKind]
	IntentID  = ID[intentKind]

	// EventID and EndpointID are ordered by time (version 7).
	EventID    = ID[eventKind]
	EndpointID = ID[endpointKind]

	operationKind struct{}
	invoiceKind   struct{}
	rechargeKind  struct{}
	paymentKind   struct{}
	cardKind      struct{}
	intentKind    struct{}
	eventKind     struct{}
	endpointKind  struct{}
)

// parseID reads the 36-character form, in either case.
func parseID[Kind any](text string) (ID[Kind], bool) {
	if len(text) != 36 { // uuid.Parse takes three other forms, which no client of ours ever got
		return ID[Kind]{}, false
	}
	id, err := uuid.Parse(text)
	if err != nil || id == uuid.Nil {
		return ID[Kind]{}, false // uuid.Parse returns what it had read so far; and the zero ID names nothing
	}
	return ID[Kind](id), true
}

// ParseOperationID reads the id of an operation.
func ParseOperationID(text string) (OperationID, bool) { return parseID[operationKind](text) }

// ParseInvoiceNumber reads the number of an invoice.
func ParseInvoiceNumber(text string) (InvoiceNumber, bool) { return parseID[invoiceKind](text) }

// ParseRechargeID reads the id of a recharge.
func ParseRechargeID(text string) (RechargeID, bool) { return parseID[rechargeKind](text) }

// ParsePaymentID reads the id of a payment by card.
func ParsePaymentID(text string) (PaymentID, bool) { return parseID[paymentKind](text) }

// ParseCardID reads the id of a card.
func ParseCardID(text string) (CardID, bool) { return parseID[cardKind](text) }

// ParseIntentID reads the id of a call to the acquirer.
func ParseIntentID(text string) (IntentID, bool) { return parseID[intentKind](text) }

// ParseEventID reads the id of an event.
func ParseEventID(text string) (EventID, bool) { return parseID[eventKind](text) }

// ParseEndpointID reads the id of a callback endpoint.
func ParseEndpointID(text string) (EndpointID, bool) { return parseID[endpointKind](text) }

// NewPaymentID, NewCardID, NewIntentID and NewShopInvoiceID are random, since whoever knows
// one may see what it names.
func NewPaymentID() PaymentID { return PaymentID(uuid.New()) }

// NewCardID is like NewPaymentID.
func NewCardID() CardID { return CardID(uuid.New()) }

// NewIntentID is like NewPaymentID.
func NewIntentID() IntentID { return IntentID(uuid.New()) }

// NewShopInvoiceID is like NewPaymentID.
func NewShopInvoiceID() InvoiceNumber { return InvoiceNumber(uuid.New()) }

// NewOperationID is ordered by time, which keeps the index of a growing table dense.
func NewOperationID() OperationID { return OperationID(uuid.Must(uuid.NewV7())) }

// NewRechargeID is ordered by time, like those of operations.
func NewRechargeID() RechargeID { return RechargeID(uuid.Must(uuid.NewV7())) }

// NewEventID is ordered by time, like those of operations.
func NewEventID() EventID { return EventID(uuid.Must(uuid.NewV7())) }

// NewEndpointID is ordered by time, like those of operations.
func NewEndpointID() EndpointID { return EndpointID(uuid.Must(uuid.NewV7())) }

// String is the canonical form: lower case, 36 characters.
func (id ID[Kind]) String() string { return uuid.UUID(id).String() }

// MarshalText makes logs and JSON show the canonical form.
func (id ID[Kind]) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// IsZero says that the id names nothing.
func (id ID[Kind]) IsZero() bool { return id == ID[Kind]{} }

// UUIDValue and ScanUUID are how pgx writes and reads it.
func (id ID[Kind]) UUIDValue() (pgtype.UUID, error) {
	return pgtype.UUID{Bytes: id, Valid: !id.IsZero()}, nil
}

// ScanUUID makes NULL the zero ID.
func (id *ID[Kind]) ScanUUID(v pgtype.UUID) error {
	*id = ID[Kind]{}
	if v.Valid {
		*id = v.Bytes
	}
	return nil
}
