package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// entry is a line of the file.
type entry struct {
	At time.Time `json:"at"`
	ID string    `json:"webhook_id"`
	// Number counts the requests with this id, from 1: the standard has a receiver
	// act on the first alone.
	Number  int             `json:"number"`
	Payload json.RawMessage `json:"payload"`
}

// journal appends entries to a file and remembers their ids, also over a restart.
type journal struct {
	mu   sync.Mutex
	file *os.File
	size int64 // up to the end of the last whole line
	seen map[string]int
}

func openJournal(path string) (*journal, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	j := &journal{file: file, seen: map[string]int{}}
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 2*maxBody)
	for lines.Scan() {
		var e entry
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			break // a line that a crash cut off
		}
		j.seen[e.ID]++
		j.size += int64(len(lines.Bytes())) + 1
	}
	if err := errors.Join(lines.Err(), file.Truncate(j.size)); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), file.Close())
	}
	return j, nil
}

// append returns when the entry is on the disk.
func (j *journal) append(id string, at time.Time, payload []byte) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	line, err := json.Marshal(entry{At: at.UTC(), ID: id, Number: j.seen[id] + 1, Payload: payload})
	if err != nil {
		return err
	}
	line = append(line, '\n')
	if _, err := j.file.Write(line); err != nil {
		return errors.Join(err, j.file.Truncate(j.size))
	}
	if err := j.file.Sync(); err != nil {
		return errors.Join(err, j.file.Truncate(j.size))
	}
	j.size += int64(len(line))
	j.seen[id]++
	return nil
}

func (j *journal) close() error { return j.file.Close() }
