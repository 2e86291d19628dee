package local

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

//go:embed rabbitmq.conf
var rabbitConf string

// Ports are where RabbitMQ listens. Management is 0 where it was not asked for.
type Ports struct{ AMQP, Management, Distribution, EPMD int }

// RabbitMQ is a private RabbitMQ node with the user guest.
type RabbitMQ struct {
	*server
	Ports Ports

	bin     string // folder of its scripts
	ctl     string // the script that runs rabbitmqctl against this node
	cluster string // lines of its configuration that make it one of a cluster's nodes; "" for none
}

// URL is how to connect to the broker.
func (r *RabbitMQ) URL() string {
	return "amqp://guest:guest@" + hostPort(r.Ports.AMQP) + "/"
}

// ManagementURL is the management API's address with its credentials, or "" without it.
func (r *RabbitMQ) ManagementURL() string {
	if r.Ports.Management == 0 {
		return ""
	}
	return "http://guest:guest@" + hostPort(r.Ports.Management)
}

// Ctl runs rabbitmqctl against this node and returns what it printed.
func (r *RabbitMQ) Ctl(ctx context.Context, args ...string) (string, error) {
	var out strings.Builder
	cmd := exec.Command(r.ctl, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := Run(ctx, cmd); err != nil {
		return out.String(), fmt.Errorf("rabbitmqctl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(out.String()))
	}
	return out.String(), nil
}

func newRabbitMQ(ctx context.Context, o Options, ports map[string]int) (*RabbitMQ, error) {
	r := &RabbitMQ{
		Ports: Ports{AMQP: ports["AMQP"], Distribution: ports["DISTRIBUTION"], EPMD: ports["EPMD"]},
		ctl:   filepath.Join(o.Dir, "rabbitmqctl"),
	}
	if o.Management {
		r.Ports.Management = ports["MANAGEMENT"]
	}
	r.server = &server{
		name:       "rabbitmq on " + hostPort(r.Ports.AMQP),
		dir:        filepath.Join(o.Dir, "rabbitmq"),
		logFile:    filepath.Join(o.Dir, "rabbitmq.log"),
		ping:       r.ping,
		stopSignal: syscall.SIGTERM,
	}
	if err := os.MkdirAll(r.dir, 0o700); err != nil {
		return nil, err
	}
	var err error
	r.bin, err = findRabbitMQ()
	if errors.Is(err, errMissing) && dockerAnswers(ctx) {
		return r, r.useDocker(o)
	}
	if err != nil {
		return nil, err
	}
	r.launch = r.startNative
	r.sweep = func() error { return endProcesses(r.dir) }
	r.erase = func(context.Context) error { return os.RemoveAll(filepath.Join(r.dir, "mnesia")) }
	return r, r.configure()
}

// configure writes the node's files, each of which replaces one of the system's: a
// private node must not read /etc/rabbitmq.
func (r *RabbitMQ) configure() error {
	conf, plugins := rabbitConf+r.cluster+"listeners.tcp.1 = "+hostPort(r.Ports.AMQP)+"\n", "[]."
	if r.Ports.Management != 0 {
		conf += "management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = " + strconv.Itoa(r.Ports.Management) + "\n"
		plugins = "[rabbitmq_management]."
	}
	return errors.Join(
		writeFile(filepath.Join(r.dir, "rabbitmq.conf"), conf),
		writeFile(filepath.Join(r.dir, "enabled_plugins"), plugins+"\n"),
		writeFile(filepath.Join(r.dir, "advanced.config"), "[].\n"),
		writeFile(filepath.Join(r.dir, "rabbitmq-env.conf"), ""),
		writeScript(r.ctl, r.env(), filepath.Join(r.bin, "rabbitmqctl")),
	)
}

// env is the node's whole configuration outside of its files, the same for its tools.
func (r *RabbitMQ) env() []string {
	in := func(name string) string { return filepath.Join(r.dir, name) }
	return []string{
		"HOME=" + r.dir, // of the Erlang cookie
		"RABBITMQ_NODENAME=" + r.nodeName(),
		"RABBITMQ_DIST_PORT=" + strconv.Itoa(r.Ports.Distribution),
		"RABBITMQ_MNESIA_BASE=" + in("mnesia"),
		"RABBITMQ_LOG_BASE=" + in("log"),
		"RABBITMQ_CONFIG_FILE=" + in("rabbitmq.conf"),
		"RABBITMQ_CONFIG_FILES=" + in("conf.d"),
		"RABBITMQ_ADVANCED_CONFIG_FILE=" + in("advanced.config"),
		"RABBITMQ_CONF_ENV_FILE=" + in("rabbitmq-env.conf"),
		"RABBITMQ_ENABLED_PLUGINS_FILE=" + in("enabled_plugins"),
		"ERL_EPMD_ADDRESS=127.0.0.1",
		"ERL_EPMD_PORT=" + strconv.Itoa(r.Ports.EPMD),
		// Nothing but startNative starts an epmd, which would stay behind as a daemon.
		"ERL_AFLAGS=-start_epmd false -kernel inet_dist_use_interface {127,0,0,1}",
	}
}

func (r *RabbitMQ) nodeName() string { return "quittance-" + id(r.dir) + "@localhost" }

// startNative starts epmd and then the node.
func (r *RabbitMQ) startNative(ctx context.Context) (*Process, error) {
	if _, err := r.startEPMD(ctx, r.Ports.EPMD); err != nil {
		return nil, err
	}
	return r.startNode(ctx)
}

// startEPMD starts Erlang's port mapper, where nodes find each other.
func (s *server) startEPMD(ctx context.Context, port int) (*Process, error) {
	epmd, err := findEPMD()
	if err != nil {
		return nil, err
	}
	names := exec.Command(epmd, "-address", "127.0.0.1", "-port", strconv.Itoa(port))
	names.Args[0] = filepath.Join(s.dir, "epmd") // by which endProcesses recognises it
	names.Env = cleanEnv()
	p, err := s.start(names, syscall.SIGKILL)
	if err != nil {
		return nil, err
	}
	if err := listens(ctx, port); err != nil {
		return nil, fmt.Errorf("epmd: %w", err)
	}
	return p, nil
}

// startNode starts the node alone.
func (r *RabbitMQ) startNode(context.Context) (*Process, error) {
	node := exec.Command(filepath.Join(r.bin, "rabbitmq-server"))
	// ALLOW_INPUT has the script become the Erlang machine instead of watching over it,
	// so that our signals reach the machine itself; noinput takes the input away again.
	node.Env = cleanEnv(append(r.env(), "RABBITMQ_ALLOW_INPUT=true", "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-noinput")...)
	return r.start(node, syscall.SIGKILL)
}

// listens returns when somebody listens on the port; an error after ten seconds.
func listens(ctx context.Context, port int) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp4", hostPort(port))
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (r *RabbitMQ) ping(ctx context.Context) error {
	conn, err := amqp.DialConfig(r.URL(), amqp.Config{Dial: func(network, addr string) (net.Conn, error) {
		c, err := (&net.Dialer{Timeout: 2 * time.Second}).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return c, c.SetDeadline(time.Now().Add(2 * time.Second)) // a node that boots may accept and say nothing
	}})
	if err != nil {
		return err
	}
	if err := conn.Close(); err != nil {
		return err
	}
	return r.pingManagement(ctx)
}

func (r *RabbitMQ) pingManagement(ctx context.Context) error {
	if r.Ports.Management == 0 {
		return nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.ManagementURL()+"/api/overview", nil)
	if err != nil {
		return err
	}
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("management: %s", resp.Status)
	}
	return nil
}

// writeScript writes a shell script that runs a program with env added to its
// environment.
func writeScript(path string, env []string, program ...string) error {
	text := "#!/bin/sh\n"
	for _, kv := range env {
		key, value, _ := strings.Cut(kv, "=")
		text += "export " + key + "=" + quote(value) + "\n"
	}
	text += "exec"
	for _, word := range program {
		text += " " + quote(word)
	}
	text += ` "$@"` + "\n"
	if err := writeFile(path, text); err != nil {
		return err
	}
	return os.Chmod(path, 0o700)
}

// quote makes a shell take s as it is.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
