package acquirertest

import "time"

const (
	rightCode  = "1234"
	tries      = 3
	givenUp    = "CANCELED" // the code of a payer who gives up, which the page of 3-D Secure posts
	askedBy3DS = "3DS"
)

// decide says what a call is answered and what becomes of the authorisation it is about, if
// there is one.
func (b *book) decide(c call, now time.Time) (answer, authorisation, bool) {
	if c.Name == "authorise" {
		said, a := b.authorise(c, now)
		return said, a, true
	}
	a, ok := b.authorisations[c.Of]
	switch {
	case !ok && c.Name == "void":
		return approve(c.ID), authorisation{ID: c.Of, Payment: c.Payment, State: voided}, true
	case !ok || a.Payment != c.Payment:
		return decline(c.ID, "no_such_authorisation"), authorisation{}, false
	case c.Name == "confirm":
		said, a := b.confirm(c, a, now)
		return said, a, true
	case c.Name != "void" && a.Currency != c.Currency:
		return decline(c.ID, "wrong_currency"), a, true
	}
	code := ""
	switch c.Name {
	case "capture":
		code = a.capture(c.Amount, b.expired(a, now))
	case "void":
		code = a.void()
	case "refund":
		code = a.refund(c.Amount)
	}
	if code != "" {
		return decline(c.ID, code), a, true
	}
	return approve(c.ID), a, true
}

func (b *book) expired(a authorisation, now time.Time) bool {
	return a.State == held && now.Sub(a.HeldAt) >= b.holdFor
}

func (b *book) authorise(c call, now time.Time) (answer, authorisation) {
	if a, ok := b.authorisations[c.ID]; ok {
		return decline(c.ID, "voided"), a
	}
	a := authorisation{
		ID: c.ID, Payment: c.Payment, Amount: c.Amount, Currency: c.Currency,
		AtOnce: c.Capture, ToCard: c.TokenTo != "", NotifyURL: c.NotifyURL, State: refused,
	}
	from, ok := cardOf(c.Token)
	if ok {
		a.Mask = from.mask()
	}
	if _, okTo := cardOf(c.TokenTo); !ok || a.ToCard && !okTo {
		return decline(c.ID, "no_such_card"), a
	}
	does := behaviours[from.number]
	switch {
	case from.expired(now):
		return decline(c.ID, "expired_card"), a
	case does.refusal != "":
		return decline(c.ID, does.refusal), a
	case does.challenge != "" && c.Unattended:
		return decline(c.ID, "authentication_required"), a
	case does.challenge != "":
		a.State, a.Challenge, a.Left = asked, does.challenge, tries
		return b.ask(c.ID, a, ""), a
	}
	return a.take(c.ID, now), a
}

// ask is the answer that the payer has to do something. again is why once more.
func (b *book) ask(id string, a authorisation, again string) answer {
	ch := &challenge{Type: a.Challenge, Left: a.Left}
	if a.Challenge == askedBy3DS {
		ch.URL, ch.Form = b.pages, map[string]string{"PaReq": a.ID}
	}
	return answer{ID: id, Status: needsConfirmation, Code: again, Message: messages[again], Reference: reference(id), Challenge: ch}
}

func (b *book) confirm(c call, a authorisation, now time.Time) (answer, authorisation) {
	switch {
	case a.State == voided:
		return decline(c.ID, "voided"), a
	case a.State == refused:
		return decline(c.ID, "declined"), a
	case a.State != asked:
		return decline(c.ID, "already_confirmed"), a
	case c.Code == "" || c.Code == givenUp:
		a.State = refused
		return decline(c.ID, "canceled"), a
	case c.Code == rightCode:
		return a.take(c.ID, now), a
	}
	a.Left--
	if a.Left > 0 {
		return b.ask(c.ID, a, "wrong_code"), a
	}
	a.State = refused
	return decline(c.ID, "wrong_code"), a
}

// take holds the money, or takes it at once.
func (a *authorisation) take(id string, now time.Time) answer {
	a.State, a.HeldAt = held, now.UTC()
	if a.AtOnce {
		a.State, a.Captured = captured, a.Amount
	}
	said := approve(id)
	if a.ToCard {
		said.SendOperationID, said.ReceiveOperationID = reference("send "+a.ID), reference("receive "+a.ID)
	}
	return said
}

// capture, void and refund return why not.
func (a *authorisation) capture(amount int64, expired bool) string {
	switch {
	case a.State == asked:
		return "not_confirmed"
	case a.State == captured:
		return "already_captured"
	case a.State == voided:
		return "voided"
	case a.State == refused:
		return "declined"
	case expired:
		return "hold_expired"
	case amount > a.Amount:
		return "beyond_hold"
	}
	a.State, a.Captured = captured, amount
	return ""
}

// void is done also where nothing is held any more: that is all that it is for.
func (a *authorisation) void() string {
	if a.State == captured {
		return "already_captured"
	}
	a.State = voided
	return ""
}

func (a *authorisation) refund(amount int64) string {
	switch {
	case a.State != captured:
		return "not_captured"
	case amount > a.Captured-a.Refunded:
		return "beyond_captured"
	}
	a.Refunded += amount
	return ""
}
