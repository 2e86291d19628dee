package acquirertest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// journal keeps entries as lines of JSON. A nil one keeps nothing.
type journal struct{ file *os.File }

// openJournal opens the journal in folder; "" is for none.
func openJournal(folder string) (*journal, error) {
	if folder == "" {
		return nil, nil
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(filepath.Join(folder, "acquirer.jsonl"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	return &journal{file}, nil
}

// read hands over every entry, oldest first. A last line without an end was being written
// when the process died, and nobody was answered: it is cut off.
func (j *journal) read(each func(entry)) error {
	if j == nil {
		return nil
	}
	content, err := io.ReadAll(j.file)
	if err != nil {
		return err
	}
	whole := int64(0)
	for n := 1; ; n++ {
		line, rest, ended := bytes.Cut(content, []byte("\n"))
		if !ended {
			break
		}
		var e entry
		if err := json.Unmarshal(line, &e); err != nil {
			return fmt.Errorf("%s, line %d: %w", j.file.Name(), n, err)
		}
		each(e)
		whole += int64(len(line)) + 1
		content = rest
	}
	if err := j.file.Truncate(whole); err != nil {
		return err
	}
	_, err = j.file.Seek(whole, io.SeekStart)
	return err
}

// write is over when the kernel has the line: that outlives the process, and a sandbox need
// not outlive the machine.
func (j *journal) write(e entry) error {
	if j == nil {
		return nil
	}
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	from, err := j.file.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	if _, err := j.file.Write(append(line, '\n')); err != nil {
		_, back := j.file.Seek(from, io.SeekStart)
		return errors.Join(err, j.file.Truncate(from), back)
	}
	return nil
}

func (j *journal) close() error {
	if j == nil {
		return nil
	}
	return j.file.Close()
}
