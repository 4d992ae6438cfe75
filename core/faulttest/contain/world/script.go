//go:build unix

package world

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"
)

// Behaviour of one call.
type Behaviour string

// The behaviours.
const (
	// Answers: it does what it is asked and answers.
	Answers Behaviour = ""
	// Loses: it does it, and the answer is lost.
	Loses Behaviour = "lose"
	// Late: the answer is lost, and it does it so much later, at the latest at not_after.
	Late Behaviour = "late"
	// Slow: it does it so much later, and answers then.
	Slow Behaviour = "slow"
	// Hangs: it does nothing and gives no answer. HangsAfter: it does it first.
	Hangs      Behaviour = "hang"
	HangsAfter Behaviour = "hang-after"
	// Crashes: the process dies. CrashesAfter: it does it first. CrashesLate: it dies, and
	// what it was asked is done so much later.
	Crashes      Behaviour = "crash"
	CrashesAfter Behaviour = "crash-after"
	CrashesLate  Behaviour = "crash-late"
	// Fails, Refuses, Doubts: it does nothing and answers failed, refused, unknown.
	Fails   Behaviour = "fail"
	Refuses Behaviour = "refuse"
	Doubts  Behaviour = "unknown"
)

var behaviours = map[Behaviour]bool{
	Loses: true, Late: true, Slow: true, Hangs: true, HangsAfter: true, Crashes: true, CrashesAfter: true,
	CrashesLate: true, Fails: true, Refuses: true, Doubts: true,
}

// Line of a script: the N-th call of Op about Target does what Do says. Target "" and N 0
// are any.
type Line struct {
	Op     Op
	Target string
	N      int
	Do     Behaviour
	After  time.Duration // of what does something later
}

// String is the line as it is written: OP TARGET N BEHAVIOUR [AFTER], "*" for any.
func (l Line) String() string {
	target, n := l.Target, strconv.Itoa(l.N)
	if target == "" {
		target = "*"
	}
	if l.N == 0 {
		n = "*"
	}
	text := fmt.Sprintf("%s %s %s %s", l.Op, target, n, l.Do)
	if l.After > 0 {
		text += " " + l.After.String()
	}
	return text
}

// Script says how calls go that do not simply go well. The first line that fits counts.
type Script []Line

// ReadScript reads a file of lines; there may be none. Empty lines and those that begin
// with "#" say nothing.
func ReadScript(path string) (Script, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || path == "" {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var s Script
	for i, line := range strings.Split(string(text), "\n") {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		l, err := parseLine(line)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, i+1, err)
		}
		s = append(s, l)
	}
	return s, nil
}

func parseLine(text string) (l Line, err error) {
	words := strings.Fields(text)
	if len(words) < 4 || len(words) > 5 {
		return l, fmt.Errorf("%q is not OP TARGET N BEHAVIOUR [AFTER]", text)
	}
	l.Op, l.Do = Op(words[0]), Behaviour(words[3])
	if l.Op != Execute && l.Op != Undo && l.Op != Check {
		return l, fmt.Errorf("there is no operation %q", words[0])
	}
	if !behaviours[l.Do] {
		return l, fmt.Errorf("there is no behaviour %q", words[3])
	}
	if words[1] != "*" {
		l.Target = words[1]
	}
	if words[2] != "*" {
		if l.N, err = strconv.Atoi(words[2]); err != nil || l.N < 1 {
			return l, fmt.Errorf("%q is neither a number from 1 on nor \"*\"", words[2])
		}
	}
	if len(words) == 5 {
		l.After, err = time.ParseDuration(words[4])
	}
	return l, err
}

// Of is how the n-th call goes.
func (s Script) Of(op Op, target string, n int) Line {
	for _, l := range s {
		if l.Op == op && (l.Target == "" || l.Target == target) && (l.N == 0 || l.N == n) {
			return l
		}
	}
	return Line{}
}
