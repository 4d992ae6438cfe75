package host

import (
	"bufio"
	"debug/elf"
	"debug/macho"
	"debug/pe"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"runtime"
	"strings"
	"syscall"
)

// unfit says why the system did not start the file, where the system's own words would
// help nobody.
func (e *executable) unfit(err error) error {
	switch {
	case errors.Is(err, syscall.ENOEXEC):
		return &permanentError{e.foreign()}
	case errors.Is(err, fs.ErrNotExist): // the file itself is open
		if needs := e.interpreter(); needs != "" {
			return &permanentError{fmt.Errorf("it is run by %q, which this machine does not have", cut(plain(needs), 200))}
		}
	case errors.Is(err, fs.ErrPermission):
		return &permanentError{errors.New("the system does not let it run: is its file system mounted with noexec, or its interpreter not executable?")}
	}
	return err
}

// foreign says what a file is that this machine has no way to run.
func (e *executable) foreign() error {
	const here = runtime.GOOS + " on " + runtime.GOARCH
	if f, err := elf.NewFile(e.file); err == nil {
		if arch := elfMachines[f.Machine]; arch != runtime.GOARCH {
			if arch == "" {
				arch = strings.ToLower(strings.TrimPrefix(f.Machine.String(), "EM_"))
			}
			return fmt.Errorf("it is a program for %s, and this machine is %s", arch, here)
		}
	}
	if _, err := macho.NewFile(e.file); err == nil {
		return fmt.Errorf("it is a program for macOS, and this machine is %s", here)
	}
	if _, err := macho.NewFatFile(e.file); err == nil {
		return fmt.Errorf("it is a program for macOS, and this machine is %s", here)
	}
	if _, err := pe.NewFile(e.file); err == nil {
		return fmt.Errorf("it is a program for Windows, and this machine is %s", here)
	}
	return fmt.Errorf("it is no program for this machine, %s, and no script that begins with #! and its interpreter (%w)", here, syscall.ENOEXEC)
}

// elfMachines are Go's names of what ELF names by numbers.
var elfMachines = map[elf.Machine]string{
	elf.EM_X86_64: "amd64", elf.EM_386: "386", elf.EM_AARCH64: "arm64", elf.EM_ARM: "arm", elf.EM_RISCV: "riscv64",
	elf.EM_PPC64: "ppc64", elf.EM_S390: "s390x", elf.EM_MIPS: "mips", elf.EM_LOONGARCH: "loong64",
}

// interpreter that a script names, or the loader that a program does; empty: none.
func (e *executable) interpreter() string {
	head := bufio.NewReader(io.NewSectionReader(e.file, 0, 4<<10))
	if line, _ := head.ReadString('\n'); strings.HasPrefix(line, "#!") {
		if words := strings.Fields(line[2:]); len(words) > 0 {
			return words[0]
		}
	}
	f, err := elf.NewFile(e.file)
	if err != nil {
		return ""
	}
	for _, part := range f.Progs {
		if part.Type == elf.PT_INTERP {
			path, _ := io.ReadAll(io.LimitReader(part.Open(), 4<<10))
			return strings.TrimRight(string(path), "\x00")
		}
	}
	return ""
}
