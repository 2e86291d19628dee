package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// servers are the server processes on this machine: 0 where one is somewhere else, or
// where the system does not tell (it does under Linux).
type servers struct{ postmaster, rabbitmq int }

// findServers asks both servers who they are.
func findServers(ctx context.Context, books *pgx.Conn, rabbitmqctl string) (s servers) {
	var backend int
	if err := books.QueryRow(ctx, "SELECT pg_backend_pid()").Scan(&backend); err == nil {
		if p, ok := readProcess(backend); ok && p.name == "postgres" {
			s.postmaster = p.parent
		}
	}
	out, err := exec.CommandContext(ctx, rabbitmqctl, "eval", "os:getpid().").Output()
	if err != nil {
		return s
	}
	pid, _ := strconv.Atoi(strings.Trim(strings.TrimSpace(string(out)), `"`))
	if p, ok := readProcess(pid); ok && p.name == "beam.smp" {
		s.rabbitmq = pid
	}
	return s
}

// others is what usage calls the rest of the machine: where it is much, the figures are of
// less than the machine.
const others = "others"

// usage is the processor time that each of the programs has used up to now, the servers,
// the load generator and everything else on this machine included.
func (s servers) usage(pids map[string]int) map[string]time.Duration {
	usage := map[string]time.Duration{}
	add := func(name string, pid int) {
		if p, ok := readProcess(pid); ok {
			usage[name] = p.used
		}
	}
	for name, pid := range pids {
		add(name, pid)
	}
	add("load", os.Getpid())
	add("rabbitmq", s.rabbitmq)
	if p, ok := readProcess(s.postmaster); ok {
		usage["postgresql"] = p.used + p.reaped
		for _, child := range children(s.postmaster) {
			usage["postgresql"] += child.used
		}
	}
	if text, err := os.ReadFile("/proc/stat"); err == nil {
		usage[others] = parseBusy(string(text)) - sumOf(usage)
	}
	return usage
}

func sumOf(usage map[string]time.Duration) (sum time.Duration) {
	for _, used := range usage {
		sum += used
	}
	return sum
}

// parseBusy reads from /proc/stat for how long all processors together have been busy.
func parseBusy(stat string) (busy time.Duration) {
	line, _, _ := strings.Cut(stat, "\n")
	for i, field := range strings.Fields(line) {
		switch i {
		case 1, 2, 3, 6, 7: // user, nice, system, irq, softirq
			n, _ := strconv.Atoi(field)
			busy += time.Duration(n) * tick
		}
	}
	return busy
}

// used is what was used between two readings. The kernel counts in ticks, so the rest of an
// idle machine may come out below nothing.
func used(before, after map[string]time.Duration) map[string]time.Duration {
	used := map[string]time.Duration{}
	for name, t := range after {
		used[name] = max(t-before[name], 0)
	}
	return used
}

// tick is the unit of processor time in /proc: USER_HZ is 100 on every Linux that matters.
const tick = 10 * time.Millisecond

// process is what the kernel tells of a process.
type process struct {
	name   string
	parent int
	used   time.Duration // by itself
	reaped time.Duration // by children that have ended
}

func readProcess(pid int) (process, bool) {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return process{}, false
	}
	return parseProcess(string(text))
}

// parseProcess reads /proc/<pid>/stat (proc_pid_stat(5)). The name is in brackets and may
// hold anything.
func parseProcess(stat string) (process, bool) {
	open, end := strings.IndexByte(stat, '('), strings.LastIndexByte(stat, ')')
	if open < 0 || end < open {
		return process{}, false
	}
	fields := strings.Fields(stat[end+1:])
	if len(fields) < 15 {
		return process{}, false
	}
	number := func(i int) int { n, _ := strconv.Atoi(fields[i]); return n }
	return process{
		name:   stat[open+1 : end],
		parent: number(1),
		used:   time.Duration(number(11)+number(12)) * tick,
		reaped: time.Duration(number(13)+number(14)) * tick,
	}, true
}

func children(parent int) (found []process) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		if p, ok := parseProcess(string(text)); ok && p.parent == parent {
			found = append(found, p)
		}
	}
	return found
}

// peakMemory is the most that a process has had resident, in megabytes; 0 where that
// cannot be known.
func peakMemory(pid int) float64 {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return 0
	}
	return parsePeak(string(text))
}

// parsePeak reads VmHWM of /proc/<pid>/status, which is in units of 1,024 bytes.
func parsePeak(status string) float64 {
	for line := range strings.Lines(status) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, _ := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 64)
			return kib * 1024 / 1e6
		}
	}
	return 0
}
