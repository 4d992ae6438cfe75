package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/kelpie-sec/kelpie/core/host"
)

// becoming is what a process is told that becomes a plugin's.
type becoming struct {
	Grant   host.Grant `json:"grant"`
	Private []string   `json:"private"`
}

// confining is a command line that runs the program that is its last argument, confined.
// What it is told stands in a file, which the caller removes.
func confining(grant host.Grant, private []string) (line []string, remove func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	for i, path := range private {
		if private[i], err = filepath.Abs(path); err != nil {
			return nil, nil, err
		}
	}
	file, err := os.CreateTemp("", "kelpie-grant-*.json")
	if err != nil {
		return nil, nil, err
	}
	defer file.Close()
	remove = func() { os.Remove(file.Name()) }
	if err := json.NewEncoder(file).Encode(becoming{grant, private}); err != nil {
		remove()
		return nil, nil, err
	}
	return []string{self, "plugin", "become", file.Name()}, remove, nil
}

// pluginBecomeCommand is for this program itself: nobody types it. It exits as
// conformance.Settings says of a launcher.
func (p program) pluginBecomeCommand() *cobra.Command {
	return &cobra.Command{
		Use: "become GRANT BIN", Hidden: true, Args: cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			data, err := os.ReadFile(args[0])
			if err != nil {
				return err
			}
			var b becoming
			if err := json.Unmarshal(data, &b); err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			err = host.Become(args[1], b.Grant, b.Private)
			code := 125
			switch {
			case errors.Is(err, syscall.ENOEXEC), errors.Is(err, fs.ErrPermission):
				code = 126
			case errors.Is(err, fs.ErrNotExist):
				code = 127
			}
			return &codeError{code, err.Error()}
		},
	}
}
