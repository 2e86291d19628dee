package paypage

import (
	"time"

	"github.com/quittance/quittance/store"
)

// standing is what can be done about an invoice.
type standing string

const (
	payable    standing = "payable"
	inProgress standing = "in progress" // somebody is paying it
	paid       standing = "paid"        // or reserved, or paid and given back: it takes no second payment
	expired    standing = "expired"
	ended      standing = "ended" // a subscription
	exhausted  standing = "exhausted"
)

// After so many refused cards within refusedWithin, an invoice takes no more for a while:
// whoever tries that often tries cards that are not his. One that many pay has room for many
// mistakes; there the limit by address does the most.
const (
	maxRefused         = 10
	maxRefusedReusable = 100
	refusedWithin      = time.Hour
)

func standingOf(in store.ShopInvoice) standing {
	if !in.Reusable {
		if taken := takenBy(in); taken != "" {
			return taken
		}
	}
	switch {
	case !in.Active && in.Type == store.Subscribe && in.Subscription.PaidAt != nil:
		return ended
	case !in.Active:
		return expired
	case tooManyRefused(in):
		return exhausted
	}
	return payable
}

// takenBy is the standing of an invoice for one payment that has it; "" where it has none that
// was not canceled. Of a subscription it is the first payment that counts.
func takenBy(in store.ShopInvoice) standing {
	if in.Type == store.Subscribe && in.Subscription.PaidAt != nil {
		if in.Active {
			return paid
		}
		return ended
	}
	for _, p := range in.Payments {
		switch p.Status {
		case store.StatusCanceled:
		case store.StatusNew:
			return inProgress
		default:
			return paid
		}
	}
	return ""
}

func tooManyRefused(in store.ShopInvoice) bool {
	most, refused := maxRefused, 0
	if in.Reusable {
		most = maxRefusedReusable
	}
	for _, p := range in.Payments {
		if p.PaymentStatus == store.PaymentRejected && in.Now.Sub(p.CreatedAt) < refusedWithin {
			refused++
		}
	}
	return refused >= most
}
