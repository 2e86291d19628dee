package main

import (
	"context"
	"fmt"
	"strings"
)

// work is what is measured: mostly a kind of command. All else is the same for every kind of
// those: the load, the clock, the ceiling and the report.
type work struct {
	name  string // of the flag, and one of them
	doing string // what the progress display says while they are sent

	// run measures what is no command, and shows it. Then nothing below is needed.
	run func(b *bench, ctx context.Context) error

	// outside, where it is set, stands in for whom the system calls, until end.
	outside func(b *bench) (end func(), err error)

	// setUp opens the accounts and whatever else is needed once.
	setUp func(b *bench, ctx context.Context, c *contender) error

	// prepare does over HTTP what must be there before the clock runs, and returns n
	// commands that can then be sent in any order. It shows its steps under name.
	prepare func(b *bench, ctx context.Context, c *contender, name, recipients string, n int) (commands, error)

	// saturate sends the commands, as fast as the system takes them.
	saturate func(b *bench, ctx context.Context, c *contender, name string, all commands) (phase, error)

	books    contenderSQL
	promises []promise
}

// works are all kinds, the default first.
var works = []work{paymentWork, rechargeWork, callbackWork, pushWork}

func findWork(name string) (work, error) {
	for _, w := range works {
		if w.name == name {
			return w, nil
		}
	}
	return work{}, fmt.Errorf("--work: %s", workNames())
}

func workNames() string {
	var names []string
	for _, w := range works {
		names = append(names, w.name)
	}
	return strings.Join(names, " or ")
}

// spellWork lets -work be written with one dash, as the flags of go test are: cobra would
// read it as the shorthands w, o, r and k.
func spellWork(args []string) []string {
	if len(args) == 0 || args[0] != "bench" {
		return args // elsewhere -work may be somebody's text
	}
	spelled := make([]string, len(args))
	for i, arg := range args {
		if arg == "-work" || strings.HasPrefix(arg, "-work=") {
			arg = "-" + arg
		}
		spelled[i] = arg
	}
	return spelled
}

// commands are what is sent, one request each.
type commands struct {
	requests [][]byte
	want     answer // to each of them; any other ends the load

	// preparedPerS is how many of them a second were made possible by another request, under
	// the same load, where that is a part of the work. 0 where it is not.
	preparedPerS float64
}

func (c commands) upTo(n int) commands {
	c.requests = c.requests[:n]
	return c
}

func (c commands) from(n int) commands {
	c.requests = c.requests[n:]
	return c
}
