//go:build !linux

package local

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// dieWithParent does nothing: only Linux ends a child with its parent. The next Start in
// the same folder ends what was left.
func dieWithParent(*syscall.SysProcAttr, syscall.Signal) {}

// processes lists the processes of this machine. Working directories are not known;
// the servers are started so that their command lines name their folder.
func processes() ([]running, error) {
	out, err := exec.Command("ps", "-axww", "-o", "pid=", "-o", "state=", "-o", "command=").Output()
	if err != nil {
		return nil, fmt.Errorf("ps: %w", err)
	}
	var all []running
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		if len(fields) < 3 || strings.HasPrefix(fields[1], "Z") {
			continue
		}
		pid, err := strconv.Atoi(fields[0])
		if err != nil {
			continue
		}
		all = append(all, running{
			pid:     pid,
			name:    filepath.Base(fields[2]),
			command: strings.Join(fields[2:], " ") + " ",
		})
	}
	return all, nil
}
