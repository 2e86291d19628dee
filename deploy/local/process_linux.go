package local

import (
	"bytes"
	"os"
	"strconv"
	"syscall"
)

func dieWithParent(attr *syscall.SysProcAttr, sig syscall.Signal) { attr.Pdeathsig = sig }

// processes lists the processes of this machine whose folder this user may see.
func processes() ([]running, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var all []running
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		dir, err := os.Readlink("/proc/" + e.Name() + "/cwd")
		if err != nil {
			continue // ended, a zombie, or somebody else's
		}
		name, _ := os.ReadFile("/proc/" + e.Name() + "/comm")
		command, _ := os.ReadFile("/proc/" + e.Name() + "/cmdline")
		all = append(all, running{
			pid:     pid,
			name:    string(bytes.TrimSpace(name)),
			command: string(bytes.ReplaceAll(command, []byte{0}, []byte{' '})),
			dir:     dir,
		})
	}
	return all, nil
}
