package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

// console shows work as it is done: a line for each step that has ended and, on a
// terminal, one that tells what goes on.
type console struct {
	out  io.Writer
	live bool // a terminal: the last line may be rewritten

	mu      sync.Mutex
	running []*shownStep
	tick    int
	stop    chan struct{}
	stopped sync.WaitGroup
}

type shownStep struct {
	name  string
	began time.Time
}

func newConsole(out *os.File) *console {
	c := &console{out: out, live: foreground(out), stop: make(chan struct{})}
	if c.live {
		c.stopped.Go(c.spin)
	}
	return c
}

// close leaves the terminal as a program that prints next expects it.
func (c *console) close() {
	close(c.stop)
	c.stopped.Wait()
	c.say("")
}

// step shows that something begins and, when done is called, how it ended and how long it
// took.
func (c *console) step(name string) (done func(error)) {
	s := &shownStep{name, time.Now()}
	c.mu.Lock()
	c.running = append(c.running, s)
	c.mu.Unlock()
	return func(err error) {
		c.mu.Lock()
		c.running = slices.DeleteFunc(c.running, func(r *shownStep) bool { return r == s })
		c.mu.Unlock()
		mark := "✓"
		if err != nil {
			mark = "✗"
		}
		c.say(fmt.Sprintf("%s %-48s %6.1fs\n", mark, name, time.Since(s.began).Seconds()))
	}
}

// say writes lines that stay.
func (c *console) say(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clear()
	fmt.Fprint(c.out, text)
}

func (c *console) clear() {
	if c.live {
		fmt.Fprint(c.out, "\r\x1b[K")
	}
}

// spin rewrites the last line until the console is closed.
func (c *console) spin() {
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-c.stop:
			return
		case <-ticker.C:
			c.draw()
		}
	}
}

func (c *console) draw() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.running) == 0 {
		return
	}
	c.tick++
	var names []string
	for _, s := range c.running {
		names = append(names, fmt.Sprintf("%s %.0fs", s.name, time.Since(s.began).Seconds()))
	}
	c.clear()
	fmt.Fprintf(c.out, "%c %.100s", []rune("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")[c.tick%10], strings.Join(names, " · "))
}

// foreground tells whether f is the terminal that this process was started from and may
// use.
func foreground(f *os.File) bool {
	var group int32
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), syscall.TIOCGPGRP, uintptr(unsafe.Pointer(&group)))
	return errno == 0 && int(group) == syscall.Getpgrp()
}
