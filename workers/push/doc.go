// Package push tells phones what happened, by way of Firebase Cloud Messaging.
//
// A push may arrive twice, never after its use. FCM knows no idempotency key, so after a crash
// between the call and what is written of it the message goes out again: under the same
// collapse key, by which the device replaces the first by the second.
//
// One call is made for each device and attempt. The SDK would make up to five; its retries
// are switched off (see once), and a failed attempt goes the way of every other: stored,
// counted, and tried again from the queue. What FCM says decides what becomes of a message
// (see Answer), and of the token that it went to.
//
// Nothing else may import Firebase's packages, which link more than 600 others.
package push
