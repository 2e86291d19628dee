package local

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// The images that stand in for programs that are not installed.
const (
	postgresImage = "postgres:17"
	rabbitImage   = "rabbitmq:4-management"
)

// dockerAnswers tells whether a Docker engine can be used.
func dockerAnswers(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second) // DOCKER_HOST may be a machine that is gone
	defer cancel()
	return exec.CommandContext(ctx, "docker", "version", "--format", "{{.Server.Version}}").Run() == nil
}

// container names the container of a server, and its volume.
func container(dir, server string) string { return "quittance-" + id(dir) + "-" + server }

// useDocker has the server run as a container. Its client stays in the foreground and
// passes signals on; it is asked to stop, not killed, when this process dies, since the
// container would survive its client.
func (s *server) useDocker(image, name string, options, args, env []string) {
	s.launch = func(context.Context) (*Process, error) {
		words := append([]string{"run", "--rm", "--name", name}, options...)
		cmd := exec.Command("docker", append(append(words, image), args...)...)
		cmd.Env = append(cmd.Environ(), env...)
		return s.start(cmd, syscall.SIGTERM)
	}
	s.sweep = func() error {
		if exec.Command("docker", "container", "inspect", name).Run() != nil {
			return nil // there is none
		}
		return docker(context.Background(), "rm", "--force", name)
	}
	s.erase = func(ctx context.Context) error { return docker(ctx, "volume", "rm", "--force", name) }
}

func (p *Postgres) useDocker(o Options) {
	name := container(o.Dir, "postgres")
	p.name = postgresImage + " on " + hostPort(p.Port)
	p.server.useDocker(postgresImage, name,
		[]string{
			"--publish", hostPort(p.Port) + ":5432", "--volume", name + ":/var/lib/postgresql/data",
			"--env", "POSTGRES_USER=quittance", "--env", "POSTGRES_DB=quittance", "--env", "POSTGRES_PASSWORD",
			"--shm-size", "512m",
		},
		settings(5432, "*"),
		[]string{"POSTGRES_PASSWORD=" + p.password})
}

func (r *RabbitMQ) useDocker(o Options) error {
	name := container(o.Dir, "rabbitmq")
	r.name = rabbitImage + " on " + hostPort(r.Ports.AMQP)
	options := []string{
		"--hostname", name, // the node's data is found by it
		"--publish", hostPort(r.Ports.AMQP) + ":5672", "--volume", name + ":/var/lib/rabbitmq",
		"--volume", filepath.Join(r.dir, "rabbitmq.conf") + ":/etc/rabbitmq/conf.d/90-quittance.conf:ro",
	}
	if r.Ports.Management != 0 {
		options = append(options, "--publish", hostPort(r.Ports.Management)+":15672")
	}
	r.server.useDocker(rabbitImage, name, options, nil, nil)

	// The container's network is not loopback to the broker; its published port is. Logs go
	// to the client, and so to the log file.
	conf := strings.NewReplacer(
		"loopback_users.guest = true", "loopback_users.guest = false",
		"log.console = false", "log.console = true",
		"log.file.level", "log.console.level",
	).Replace(rabbitConf)
	path := filepath.Join(r.dir, "rabbitmq.conf")
	if err := writeFile(path, conf); err != nil {
		return err
	}
	if err := os.Chmod(path, 0o644); err != nil { // the container's user is another
		return err
	}
	return writeScript(r.ctl, nil, "docker", "exec", name, "rabbitmqctl")
}

// removeVolumes deletes what containers of dir stored.
func removeVolumes(ctx context.Context, dir string) error {
	if _, err := exec.LookPath("docker"); err != nil || !dockerAnswers(ctx) {
		return nil // then they have stored nothing, or nothing that can be reached
	}
	return docker(ctx, "volume", "rm", "--force", container(dir, "postgres"), container(dir, "rabbitmq"))
}

func docker(ctx context.Context, args ...string) error {
	if err := run(ctx, exec.Command("docker", args...)); err != nil {
		return fmt.Errorf("docker %s: %w", strings.Join(args, " "), err)
	}
	return nil
}
