// Package acquirertest is a card acquirer to test against. It moves no money, but minds it as
// one that does: each call has its effect once by its id, nothing is captured beyond what is
// held nor refunded beyond what was captured, and whoever does not understand an answer can
// inquire. The sandbox serves it; tests start one of their own.
//
// # Protocol
//
// Every call is a POST of a JSON object to /acquirer/{call}, with "Authorization: Bearer <key>"
// where a key is set. Amounts are integers of minor units, currencies ISO 4217 numbers.
//
//	tokenise   id, number, expiry (YYYY-MM), security_code?; or id, token, security_code
//	authorise  id, payment, amount, currency, token, token_to?, commission?, capture, unattended, notify_url?
//	confirm    id, payment, of, code
//	capture    id, payment, of, amount, currency, commission?
//	void       id, payment, of, amount, currency, commission?
//	refund     id, payment, of, amount, currency, commission?
//	inquire    id
//
// id is the caller's, and of is that of the authorisation. GET /acquirer/health is 200 while
// calls with that key are taken.
//
// The answer to tokenise is {"id", "status", "token", "mask", "expiry", "brand"}, and to all
// others
//
//	{"id", "status", "code", "message", "reference", "send_operation_id", "receive_operation_id",
//	 "challenge": {"type", "url", "form", "left"}}
//
// with status 200 wherever the call was understood, also if it was declined; keys without a
// value are absent. status is approved, declined (code says why, message says it to the payer)
// or needs_confirmation (challenge says how: LOOKUP wants a code; for 3DS the payer's browser
// posts form, TermUrl and MD to url, which posts PaRes and MD to TermUrl; the code, or the
// PaRes, is what confirm takes). An inquiry answers what the call with that id was answered,
// or the status not_found.
//
// The same call under the same id is answered the same, and does nothing further. Other
// content under an id that is known is refused with 422 and the code id_reused. What is not
// understood is refused with 400 or 422 and the code malformed, a wrong key with 401. Any
// other answer, and none, says nothing about what became of the call.
//
// A void releases what is held; one of an authorisation that has not arrived makes it be
// declined when it does. One capture ends a hold: the rest is released.
//
// After each call that moves money {"id": <the call's>} is posted to the authorisation's
// notify_url, once, whatever it answers: a hint that an inquiry is worth while.
//
// # Cards
//
// Any number that passes Luhn's check is a card, and is approved, but for
//
//	4000000000000002  declined
//	4000000000009995  declined: insufficient_funds
//	4000000000003220  asks for 3-D Secure: 1234, three tries
//	4000000000003063  asks for a LOOKUP code: 1234, three tries
//	4000000000000119  charged, and the connection cut before the answer, the first time
//	4000000000000341  the connection cut before anything is done, the first time; then declined
//
// A payer who is not there cannot be asked: then those two that ask are declined
// (authentication_required).
//
// # For tests and people
//
// GET /acquirer/operations?payment=… lists what was done for a payment, oldest first:
// [{"payment", "call", "key", "amount", "captured"}], where key is the call's id and captured
// is true where money was taken. Without payment it lists the last 1,000 of all.
//
// POST /acquirer/faults makes the next calls fail, GET lists what is still to come, DELETE
// forgets it: {"call": "authorise", "fault": "cut_after", "times": 2, "delay": "3s", "payment":
// "…"}. call is any of those above, or any; fault is delay (which goes on with the call even
// if its caller has given up), 500, cut_before, cut_after or duplicate_notification; times is
// 1 unless given; payment is optional.
//
// With a folder what was done is kept there as JSON lines, and read again at the next start.
// Numbers are not written anywhere; security codes are not even kept in memory.
package acquirertest
