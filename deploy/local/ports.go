package local

import (
	"errors"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strconv"
)

// Free ports are taken below 32768, where neither Linux nor macOS picks the local port of
// an outgoing connection: a server that was killed must get its port again, and a pooled
// connection could hold it for hours.
const firstPort, lastPort = 20000, 32000

// choosePorts settles a port for each purpose and remembers them in Dir for the next
// run: the port of last time, then the wanted one, then any.
func choosePorts(o Options) (map[string]int, error) {
	path := filepath.Join(o.Dir, "ports")
	last, err := readVariables(path)
	if err != nil {
		return nil, err
	}
	ports, text := map[string]int{}, ""
	for _, p := range []struct {
		purpose string
		wanted  int
	}{
		{"POSTGRES", o.PostgresPort},
		{"AMQP", o.RabbitMQPort},
		{"MANAGEMENT", 0},
		{"DISTRIBUTION", 0},
		{"EPMD", 0},
	} {
		before, _ := strconv.Atoi(last[p.purpose])
		port, err := freePort(ports, before, p.wanted)
		if err != nil {
			return nil, err
		}
		ports[p.purpose] = port
		text += p.purpose + "=" + strconv.Itoa(port) + "\n"
	}
	return ports, writeFile(path, text)
}

// freePort returns the first of the wanted ports that is free and not taken for another
// purpose, or else any such port.
func freePort(taken map[string]int, wanted ...int) (int, error) {
	used := map[int]bool{0: true}
	for _, port := range taken {
		used[port] = true
	}
	for _, port := range wanted {
		if !used[port] && isFree(port) {
			return port, nil
		}
	}
	for range 1000 {
		port := firstPort + rand.IntN(lastPort-firstPort)
		if !used[port] && isFree(port) {
			return port, nil
		}
	}
	return 0, errors.New("no port is free on 127.0.0.1 between 20000 and 32000")
}

func isFree(port int) bool {
	l, err := net.Listen("tcp4", hostPort(port))
	if err != nil {
		return false
	}
	return l.Close() == nil
}
