package main

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// interrupts are the signals that ask this process to end. The first one ends the context
// first, the second one ends second as well: stop cleanly, then stop at once.
type interrupts struct {
	first, second context.Context
	signals       chan syscall.Signal // each of them, for whom they may concern
	stop          func()
}

func watchInterrupts() *interrupts {
	first, endFirst := context.WithCancel(context.Background())
	second, endSecond := context.WithCancel(context.Background())
	received := make(chan os.Signal, 4)
	signal.Notify(received, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)

	i := &interrupts{first: first, second: second, signals: make(chan syscall.Signal, 4)}
	var done sync.WaitGroup
	done.Go(func() {
		for sig := range received {
			if first.Err() != nil {
				endSecond()
			}
			endFirst()
			select {
			case i.signals <- sig.(syscall.Signal):
			default: // nobody listens
			}
		}
	})
	i.stop = func() {
		signal.Stop(received)
		close(received)
		done.Wait()
		endFirst()
		endSecond()
	}
	return i
}
