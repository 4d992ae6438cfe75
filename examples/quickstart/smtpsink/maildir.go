package main

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// maildir is a folder of mails as Daniel Bernstein described it: a mail is written
// below tmp and then moved to new, so that no reader sees half of one.
type maildir struct{ path string }

func openMaildir(path string) (*maildir, error) {
	for _, sub := range []string{"tmp", "new", "cur"} {
		if err := os.MkdirAll(filepath.Join(path, sub), 0o700); err != nil {
			return nil, err
		}
	}
	return &maildir{path: path}, nil
}

// deliver returns when the mail is on the disk.
func (m *maildir) deliver(from string, to []string, content []byte) error {
	var random [8]byte
	if _, err := rand.Read(random[:]); err != nil {
		return err
	}
	name := fmt.Sprintf("%d.%s.localhost", time.Now().UnixMicro(), hex.EncodeToString(random[:]))
	written := filepath.Join(m.path, "tmp", name)
	file, err := os.OpenFile(written, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	clean := strings.NewReplacer("\r", "", "\n", "")
	_, err = fmt.Fprintf(file, "Return-Path: <%s>\r\nDelivered-To: %s\r\n", clean.Replace(from), clean.Replace(strings.Join(to, ", ")))
	if err == nil {
		_, err = file.Write(content)
	}
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return errors.Join(err, os.Remove(written))
	}
	if err := os.Rename(written, filepath.Join(m.path, "new", name)); err != nil {
		return err
	}
	return syncFolder(filepath.Join(m.path, "new"))
}

func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// counted is a Message-ID and the mails that have it.
type counted struct {
	ID    string   `json:"message_id"`
	Count int      `json:"count"`
	Files []string `json:"files"`
}

// counts reads all mails, new and seen.
func (m *maildir) counts() ([]counted, error) {
	byID := map[string]*counted{}
	for _, sub := range []string{"new", "cur"} {
		entries, err := os.ReadDir(filepath.Join(m.path, sub))
		if err != nil {
			return nil, err
		}
		for _, entry := range entries {
			name := filepath.Join(sub, entry.Name())
			content, err := os.ReadFile(filepath.Join(m.path, name))
			if err != nil {
				return nil, err
			}
			id := messageID(content)
			if byID[id] == nil {
				byID[id] = &counted{ID: id}
			}
			byID[id].Count++
			byID[id].Files = append(byID[id].Files, name)
		}
	}
	all := make([]counted, 0, len(byID))
	for _, c := range byID {
		all = append(all, *c)
	}
	slices.SortFunc(all, func(a, b counted) int { return cmp.Compare(a.ID, b.ID) })
	return all, nil
}

// printCounts prints one JSON object for each Message-ID.
func printCounts(dir string, out io.Writer) error {
	all, err := (&maildir{path: dir}).counts()
	if err != nil {
		return err
	}
	encoder := json.NewEncoder(out)
	for _, c := range all {
		if err := encoder.Encode(c); err != nil {
			return err
		}
	}
	return nil
}
