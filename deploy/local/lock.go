package local

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

const lockName = "lock"

// ErrInUse is returned for a folder in which another process runs servers.
var ErrInUse = errors.New("in use")

// lock holds a folder for one process. The kernel releases it when the process ends,
// however it ends.
type lock struct{ file *os.File }

func takeLock(dir string) (*lock, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		holder, _ := os.ReadFile(f.Name()) // empty when it has only just been taken
		_ = f.Close()
		return nil, fmt.Errorf("%s: servers already run there, under process %s: %w", dir, strings.TrimSpace(string(holder)), ErrInUse)
	}
	if err := f.Truncate(0); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if _, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &lock{f}, nil
}

// release closes the file, which frees the lock. The file stays: deleting it would let
// two processes hold locks on two files of the same name.
func (l *lock) release() error { return l.file.Close() }

// InUse tells whether some process runs servers in dir.
func InUse(dir string) bool {
	if _, err := os.Stat(filepath.Join(dir, lockName)); err != nil {
		return false
	}
	l, err := takeLock(dir)
	if err != nil {
		return errors.Is(err, ErrInUse)
	}
	_ = l.release()
	return false
}
