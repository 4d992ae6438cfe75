// Command script is a detector that plays a script: each line of a growing file is a
// delivery (far.Delivery), which it sends as it stands. Its cursor is the place in the
// file, so the source can wait. With again it sends some of the lines before its cursor
// once more when a session begins, as sources do that remember less than they should.
//
// A delivery may be played in another way than at once, in order, and once. What was
// played so, and taken by the core, it notes in a file beside the script, ".played".
package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

// interval between looks at the end of the file.
const interval = 10 * time.Millisecond

type config struct {
	File  sdk.Path `kelpie:"file,required" doc:"The script."`
	Again int      `kelpie:"again" doc:"How many lines before the cursor are sent again when a session begins." default:"0"`
}

type script struct{ config config }

func (s *script) Config() any { return &s.config }

// Detect plays from the cursor on, which is the offset of a line.
func (s *script) Detect(ctx context.Context, start sdk.Start, out sdk.Sender) error {
	at := 0
	if len(start.Cursor) > 0 {
		var err error
		if at, err = strconv.Atoi(string(start.Cursor)); err != nil {
			return fmt.Errorf("cursor: %w", err)
		}
	}
	f, err := os.Open(string(s.config.File))
	if err != nil {
		return err
	}
	defer f.Close()
	if err := s.again(ctx, f, at, out); err != nil {
		return err
	}
	if _, err := f.Seek(int64(at), io.SeekStart); err != nil {
		return err
	}
	p := &player{file: string(s.config.File), out: out, at: at}
	r := bufio.NewReaderSize(f, 64<<10)
	var line []byte
	for {
		part, err := r.ReadBytes('\n')
		line = append(line, part...)
		switch {
		case errors.Is(err, io.EOF) && start.Once:
			return p.release(ctx)
		case errors.Is(err, io.EOF):
			if err := p.release(ctx); err != nil {
				return err // nothing may follow for long
			}
			if !pause(ctx, interval) {
				return ctx.Err()
			}
			continue
		case err != nil:
			return err
		}
		if err := p.play(ctx, line); err != nil {
			return err
		}
		line = line[:0]
	}
}

// again sends the last lines before an offset, without moving the cursor.
func (s *script) again(ctx context.Context, f io.ReaderAt, at int, out sdk.Sender) error {
	if s.config.Again == 0 || at == 0 {
		return nil
	}
	before := make([]byte, at)
	if _, err := f.ReadAt(before, 0); err != nil {
		return err
	}
	lines := bytes.SplitAfter(before, []byte("\n"))
	lines = lines[:len(lines)-1] // after the last newline is nothing
	for _, line := range lines[max(len(lines)-s.config.Again, 0):] {
		d, err := read(line)
		if err != nil {
			return err
		}
		if err := deliver(ctx, d, out, "", false); err != nil {
			return err
		}
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

func main() {
	sdk.Serve(sdk.Plugin{
		Name: "script", Version: "0.1.0",
		Connectors: []sdk.Connector{{
			Kind: sdk.KindDetector, Summary: "Plays a script.",
			New:           func() sdk.Instance { return &script{} },
			CursorVersion: 1, Finite: true,
		}},
		Permissions: sdk.Permissions{Read: []string{"{file}"}, Write: []string{"{file}.played"}},
	})
}
