package paypage

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/quittance/quittance/api"
	"github.com/quittance/quittance/store"
)

const (
	payWithin     = 25 * time.Second // the acquirer's tokenise call, and two of ours
	releaseWithin = 2 * time.Second
	showWithin    = 2 * time.Second // most payments are known by then: their first page is the last
	askLeaseEvery = 200 * time.Millisecond
	askLeaseFor   = 8 * time.Second
)

var (
	// errNothingCharged is of a payment that ended before anything was committed.
	errNothingCharged = &api.Refusal{Status: http.StatusServiceUnavailable, Code: "unavailable", Message: "Nothing was charged.", RetryAfter: 10 * time.Second}
	// errUncertain is of a commit whose answer was lost: the invoice's page knows more.
	errUncertain = &api.Refusal{Status: http.StatusServiceUnavailable, Code: "uncertain", Message: "The payment may have been accepted.", RetryAfter: 10 * time.Second}
)

// pay takes the card's form. Whoever pressed the button has decided: the payment is made even
// if the browser is gone before the answer, and a second press waits for the first one's.
func (h *handlers) pay(c *gin.Context) error {
	in, err := h.invoice(c)
	if err != nil {
		return err
	}
	form, err := readForm(c, maxForm)
	if err != nil {
		return err
	}
	o, found := readOrder(form, in)
	key, signed := h.key(c, form, in.ID)
	if !signed {
		return h.showForm(c, http.StatusForbidden, in, o, form.Get("amount"), wrongs{"": formStale})
	}
	if len(found) > 0 {
		return h.showForm(c, http.StatusUnprocessableEntity, in, o, form.Get("amount"), found)
	}
	if err := h.Admission.Admit(); err != nil {
		return fmt.Errorf("%w: %w", errNothingCharged, err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Request.Context()), payWithin)
	defer cancel()
	path, err := h.charge(ctx, c, in, key, o)
	if err != nil {
		return h.showRefusal(c, in, o, err)
	}
	seeOther(c, path)
	return nil
}

// charge makes the payment that the form asks for and returns where it is shown. The form's
// key is leased while the card is tokenised; what is not committed gives it up.
func (h *handlers) charge(ctx context.Context, c *gin.Context, in store.ShopInvoice, key string, o order) (string, error) {
	payment := store.NewPaymentID()
	path := paymentPath(in.ID, payment)
	once := once(in.ID, key, "POST "+invoicePath(in.ID)+"\n"+strconv.FormatInt(o.Amount, 10)+" "+o.mask()+" "+o.Card.Expiry, path)
	intent, err := h.lease(ctx, once)
	var replay *store.Replay
	switch {
	case errors.As(err, &replay):
		return string(replay.Answer.Body), nil
	case errors.Is(err, store.ErrUnavailable):
		return "", fmt.Errorf("%w: %w", errNothingCharged, err)
	case err != nil:
		return "", err
	}

	operation, err := h.commit(ctx, in, payment, intent, o, once)
	if err != nil {
		release, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseWithin)
		defer cancel()
		return "", errors.Join(err, h.Books.ReleaseKey(release, once)) // a lease that stays ends by itself
	}
	h.remember(c, in.ID, payment.String())
	h.Waiter.Wait(c.Request.Context(), operation, showWithin) // whatever it is then, the page shows it
	return path, nil
}

// lease takes the form's key. While an earlier press of the button has it, its answer is
// waited for.
func (h *handlers) lease(ctx context.Context, once store.Once) (store.IntentID, error) {
	ctx, cancel := context.WithTimeout(ctx, askLeaseFor)
	defer cancel()
	for {
		intent, err := h.Books.LeaseKey(ctx, once, store.NewIntentID())
		if !errors.Is(err, store.ErrKeyInProgress) {
			return intent, err
		}
		select {
		case <-ctx.Done():
			return intent, err
		case <-time.After(askLeaseEvery):
		}
	}
}

// commit tokenises the card and accepts the payment.
func (h *handlers) commit(ctx context.Context, in store.ShopInvoice, id store.PaymentID, intent store.IntentID, o order, once store.Once) (store.OperationID, error) {
	if where := standingOf(in); where != payable {
		return store.OperationID{}, standingError(where)
	}
	card, token, err := h.Tokeniser.Tokenise(ctx, intent, o.Card)
	if errors.Is(err, store.ErrUnavailable) {
		return store.OperationID{}, fmt.Errorf("%w: %w", errNothingCharged, err)
	}
	if err != nil {
		return store.OperationID{}, err
	}
	card.ID = store.NewCardID()
	operation, err := h.Books.CreateCardPayment(ctx, store.NewCardPayment{
		ID: id, Intent: store.NewIntentID(), Invoice: in.ID, Amount: o.Amount, Card: card, NewCard: true, Token: token, SavedToken: token, Once: once,
	})
	if errors.Is(err, store.ErrUnavailable) {
		return operation, fmt.Errorf("%w: %w", errUncertain, err)
	}
	return operation, err
}

// standingError says that the invoice cannot be paid any more, or not now.
type standingError standing

func (e standingError) Error() string { return "the invoice is " + string(e) }

// refusedOrders are the refusals that the payer can do something about, by the field.
var refusedOrders = []struct {
	err   error
	field string
	wrong wrong
}{
	{api.ErrCardRefused, "number", cardRefused},
	{store.ErrPaysOwnCard, "number", ownCard},
	{store.ErrCardExpired, "expiry", expiryPassed},
	{store.ErrAmountTooLarge, "amount", amountLarge},
	{store.ErrAmountNeeded, "amount", amountWrong},
	{store.ErrAmountNotOpen, "", totalChanged},
	{store.ErrKeyReused, "", formStale},
}

// standings are the refusals that are about the invoice.
var standings = []struct {
	err   error
	where standing
}{
	{store.ErrInvoicePaid, paid},
	{store.ErrPaymentInProgress, inProgress},
	{store.ErrInvoiceInactive, expired},
}

// showRefusal shows the form again with what is wrong, or why there is no form any more. What
// is neither is returned.
func (h *handlers) showRefusal(c *gin.Context, in store.ShopInvoice, o order, err error) error {
	if errors.Is(err, store.ErrKeyInProgress) {
		return h.showKeyInProgress(c, in)
	}
	for _, known := range standings {
		if errors.Is(err, known.err) {
			return h.showStanding(c, in, known.where)
		}
	}
	if where, is := errors.AsType[standingError](err); is {
		return h.showStanding(c, in, standing(where))
	}
	for _, known := range refusedOrders {
		if errors.Is(err, known.err) {
			return h.showForm(c, http.StatusUnprocessableEntity, in, o, plain(o.Amount), wrongs{known.field: known.wrong})
		}
	}
	return err
}

// showForm shows the form that is to be filled in again, if the invoice can be paid at all.
func (h *handlers) showForm(c *gin.Context, status int, in store.ShopInvoice, o order, typed string, found wrongs) error {
	if where := standingOf(in); where != payable {
		return h.showStanding(c, in, where)
	}
	if _, wrong := found["amount"]; wrong || in.Amount == 0 && o.Amount == 0 {
		return h.showAmountForm(c, status, in, typed, found)
	}
	return h.showCardForm(c, status, in, o.Amount, found)
}

// showKeyInProgress is for whoever pressed the button again while the first press is not
// answered: the invoice's page soon knows of the payment.
func (h *handlers) showKeyInProgress(c *gin.Context, in store.ShopInvoice) error {
	t := tongueOf(c.Request)
	return h.tell(c, http.StatusAccepted, view{
		Title: t.Words["in_progress_title"], Bill: billOf(t, in), Refresh: lookAgainAfter, RefreshTo: invoicePath(in.ID),
		Notice: &notice{Kind: "wait", Text: t.Words["in_progress_text"], Links: []link{{Text: t.Words["wait_again"], URL: invoicePath(in.ID), Main: true}}},
	})
}
