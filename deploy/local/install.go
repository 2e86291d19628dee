package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// Install installs the programs of the servers that o asks for and that are missing: with
// apt-get (through sudo, if it asks for no password), with brew, or as Docker images. It
// says in o.Step what it installs, and does nothing where nothing is missing.
func Install(ctx context.Context, o Options) error {
	missing := missingPrograms(o)
	if len(missing) == 0 {
		return nil
	}
	var failures []error
	for _, install := range []func(context.Context, Options, []program) error{withApt, withBrew, withDocker} {
		err := install(ctx, o, missing)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !errors.Is(err, errors.ErrUnsupported) {
			failures = append(failures, err)
		}
	}
	if len(failures) > 0 {
		return errors.Join(failures...)
	}
	what := strings.Join(names(missing, func(p program) string { return p.name }), " and ")
	return fmt.Errorf("neither apt-get nor brew is here, and no Docker engine answers: install %s and try again", what)
}

// program is a server's, under the names by which it can be had.
type program struct{ name, apt, brew, image string }

func missingPrograms(o Options) []program {
	var missing []program
	if _, _, err := findPostgres(""); err != nil && !o.WithoutPostgres {
		missing = append(missing, program{"PostgreSQL", "postgresql", "postgresql@17", postgresImage})
	}
	if _, err := findRabbitMQ(); err != nil && !o.WithoutRabbitMQ {
		missing = append(missing, program{"RabbitMQ", "rabbitmq-server", "rabbitmq", rabbitImage})
	}
	return missing
}

func names(programs []program, name func(program) string) []string {
	var all []string
	for _, p := range programs {
		all = append(all, name(p))
	}
	return all
}

func withApt(ctx context.Context, o Options, missing []program) error {
	if _, err := exec.LookPath("apt-get"); err != nil {
		return errors.ErrUnsupported
	}
	packages := names(missing, func(p program) string { return p.apt })
	if os.Geteuid() != 0 && exec.CommandContext(ctx, "sudo", "-n", "true").Run() != nil {
		return fmt.Errorf("sudo asks for a password: run `sudo apt-get install --no-install-recommends %s`", strings.Join(packages, " "))
	}
	if err := step(ctx, o, "apt-get update", asRoot("apt-get", "update")); err != nil {
		return err
	}
	return step(ctx, o, "apt-get install "+strings.Join(packages, " "),
		asRoot("apt-get", append([]string{"install", "-y", "--no-install-recommends"}, packages...)...))
}

// asRoot is a command that asks nothing, run by root.
func asRoot(name string, args ...string) *exec.Cmd {
	words := append([]string{"env", "DEBIAN_FRONTEND=noninteractive", name}, args...)
	if os.Geteuid() != 0 {
		words = append([]string{"sudo", "-n"}, words...)
	}
	return exec.Command(words[0], words[1:]...)
}

func withBrew(ctx context.Context, o Options, missing []program) error {
	if _, err := exec.LookPath("brew"); err != nil {
		return errors.ErrUnsupported
	}
	packages := names(missing, func(p program) string { return p.brew })
	return step(ctx, o, "brew install "+strings.Join(packages, " "), exec.Command("brew", append([]string{"install"}, packages...)...))
}

func withDocker(ctx context.Context, o Options, missing []program) error {
	if !dockerAnswers(ctx) {
		return errors.ErrUnsupported
	}
	for _, p := range missing {
		if exec.CommandContext(ctx, "docker", "image", "inspect", p.image).Run() == nil {
			continue
		}
		if err := step(ctx, o, "docker pull "+p.image, exec.Command("docker", "pull", p.image)); err != nil {
			return err
		}
	}
	return nil
}

// step runs a command and says so.
func step(ctx context.Context, o Options, name string, cmd *exec.Cmd) error {
	done := o.step(name)
	err := run(ctx, cmd)
	done(err)
	return err
}
