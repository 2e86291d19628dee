// Package queue carries messages through RabbitMQ, and is the only package that
// knows RabbitMQ.
//
// It promises that a publication reported as confirmed is on disk in a quorum queue,
// that a message is acknowledged only after its handler has returned nil for it, and
// that what a handler could not finish because something else was down is kept and
// handled again without using up a delivery. A message may arrive more than once; it
// is never lost between the two ends.
//
// It rests on quorum queues, publisher confirms with mandatory routing, at-least-once
// dead-lettering, and on one rule about connections: nothing outlives the connection
// it came from. Each connection is an epoch. Channels, consumers and delivery tags
// belong to one epoch and are dropped with it, so a late acknowledgement can never hit
// a message of the next.
//
// The known hole: whoever deletes a queue by hand deletes its messages. The queue is
// declared again within a second; its messages are found by whoever looks at rows that
// are due.
package queue
