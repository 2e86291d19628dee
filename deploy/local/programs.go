package local

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
)

// errMissing says that a server's programs are not on this machine.
var errMissing = errors.New("not installed")

// Where the packages of Debian, Red Hat and Homebrew put PostgreSQL's programs, which
// often are not on PATH.
var postgresFolders = []string{
	"/usr/lib/postgresql/*/bin",
	"/usr/pgsql-*/bin",
	"/opt/homebrew/opt/postgresql*/bin",
	"/usr/local/opt/postgresql*/bin",
	"/home/linuxbrew/.linuxbrew/opt/postgresql*/bin",
}

// Where RabbitMQ's own scripts are. Debian's on PATH are others, which insist on the
// system's node.
var rabbitFolders = []string{
	"/usr/lib/rabbitmq/bin",
	"/opt/homebrew/opt/rabbitmq/sbin",
	"/usr/local/opt/rabbitmq/sbin",
	"/home/linuxbrew/.linuxbrew/opt/rabbitmq/sbin",
}

// Where Erlang's own programs are.
var erlangFolders = []string{
	"/usr/lib/erlang/bin",
	"/opt/homebrew/opt/erlang/bin",
	"/usr/local/opt/erlang/bin",
	"/home/linuxbrew/.linuxbrew/opt/erlang/bin",
}

// findPostgres returns the folder and the major version of the newest PostgreSQL here;
// where major is not "", of that one.
func findPostgres(major string) (string, int, error) {
	var found string
	var newest int
	for _, dir := range foldersWith("initdb", postgresFolders) {
		version := postgresMajor(dir)
		if version > newest && (major == "" || strconv.Itoa(version) == major) {
			found, newest = dir, version
		}
	}
	if found == "" && major != "" {
		return "", 0, fmt.Errorf("PostgreSQL %s, which made the data here: %w (`make reset` deletes the data)", major, errMissing)
	}
	if found == "" {
		return "", 0, fmt.Errorf("PostgreSQL: %w", errMissing)
	}
	return found, newest, nil
}

var versionNumber = regexp.MustCompile(`\) (\d+)`) // postgres (PostgreSQL) 15.13

func postgresMajor(dir string) int {
	out, err := exec.Command(filepath.Join(dir, "postgres"), "--version").Output()
	if err != nil {
		return 0
	}
	if m := versionNumber.FindSubmatch(out); m != nil {
		version, _ := strconv.Atoi(string(m[1])) // digits
		return version
	}
	return 0
}

// findRabbitMQ returns the folder of RabbitMQ's scripts.
func findRabbitMQ() (string, error) {
	dirs := foldersWith("rabbitmq-server", rabbitFolders)
	if _, err := findEPMD(); err != nil || len(dirs) == 0 {
		return "", fmt.Errorf("RabbitMQ: %w", errMissing)
	}
	return dirs[0], nil
}

// findEPMD returns Erlang's port mapper.
func findEPMD() (string, error) {
	dirs := foldersWith("epmd", erlangFolders)
	if len(dirs) == 0 {
		return "", fmt.Errorf("epmd: %w", errMissing)
	}
	return filepath.Join(dirs[0], "epmd"), nil
}

// foldersWith returns the folders that hold a program: first those that the patterns
// name, then PATH's.
func foldersWith(program string, patterns []string) []string {
	var dirs []string
	for _, pattern := range patterns {
		matches, _ := filepath.Glob(filepath.Join(pattern, program)) // the patterns are well-formed
		for _, path := range matches {
			dirs = append(dirs, filepath.Dir(path))
		}
	}
	if path, err := exec.LookPath(program); err == nil {
		dirs = append(dirs, filepath.Dir(path))
	}
	return slices.Compact(dirs)
}
