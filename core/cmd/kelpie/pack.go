package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/kelpie-sec/kelpie/core/host"
	"github.com/kelpie-sec/kelpie/core/release"
)

// packed is a release that was made, as --json has it.
type packed struct {
	Name      string   `json:"name"`
	Version   string   `json:"version"`
	Platforms []string `json:"platforms"`
	Folder    string   `json:"folder"`
	Files     []string `json:"files"`
	Key       string   `json:"key,omitempty"` // that has signed it
}

func (p program) pluginPackCommand(o *options) *cobra.Command {
	var out, secret, passwords string
	c := &cobra.Command{
		Use: "pack BIN…", Short: "Make a release of a plugin from its binaries", Args: cobra.MinimumNArgs(1),
		Long: "Make a release of a plugin from its binaries.\n\n" +
			"Give one binary for each platform, as linux_arm64=dist/acme-arm64; one without a platform is for this machine's, " +
			"and is started once, confined, to say what it is. The folder holds as many releases of as many plugins as you like: " +
			"it, or the same folder behind a web server, is what \"source\" in a plugin block names.\n\n" +
			"The same binaries give the same files. A release is not made over: raise the plugin's version.",
		RunE: func(c *cobra.Command, args []string) error {
			binaries, err := binariesOf(args)
			if err != nil {
				return err
			}
			var signer *release.Signer
			if passwords != "" && secret == "" {
				return usage("--password-file goes with --sign")
			}
			if secret != "" {
				s, err := p.signer(secret, passwords)
				if err != nil {
					return err
				}
				signer = &s
			}
			made, err := pack(c.Context(), out, binaries, signer)
			if err != nil {
				return err
			}
			if o.json {
				return printJSON(p.out, made)
			}
			printPacked(p.out, made)
			return nil
		},
	}
	flags := c.Flags()
	flags.StringVar(&out, "out", "dist", "the folder of the releases")
	flags.StringVar(&secret, "sign", "", "sign with the secret key in this file, of \"kelpie plugin keygen\" or minisign")
	flags.StringVar(&passwords, "password-file", "", "a file with the key's password, instead of asking for it")
	return c
}

// binariesOf reads PLATFORM=PATH, or PATH for this machine's platform, which must be there.
func binariesOf(args []string) ([]release.Binary, error) {
	var all []release.Binary
	for _, arg := range args {
		platform, path, ok := strings.Cut(arg, "=")
		if !ok {
			platform, path = host.Platform(), arg
		}
		all = append(all, release.Binary{Platform: platform, Path: path})
	}
	if !slices.ContainsFunc(all, func(b release.Binary) bool { return b.Platform == host.Platform() }) {
		return nil, usage("none of these is for %s, so that none can be asked what it is: give one for this machine too", host.Platform())
	}
	return all, nil
}

func pack(ctx context.Context, dir string, binaries []release.Binary, signer *release.Signer) (packed, error) {
	i := slices.IndexFunc(binaries, func(b release.Binary) bool { return b.Platform == host.Platform() })
	ctx, cancel := context.WithTimeout(ctx, inspectTimeout)
	defer cancel()
	about, sum, err := host.Inspect(ctx, binaries[i].Path)
	if err != nil {
		return packed{}, err
	}
	binaries[i].SHA256 = sum
	m, files, err := release.Pack(dir, about, binaries, signer)
	if err != nil {
		return packed{}, err
	}
	made := packed{Name: m.Name, Version: m.Version, Platforms: []string{}, Folder: dir, Files: files}
	for platform := range m.Platforms {
		made.Platforms = append(made.Platforms, platform)
	}
	slices.Sort(made.Platforms)
	if signer != nil {
		made.Key = signer.Key().String()
	}
	return made, nil
}

func printPacked(w io.Writer, made packed) {
	fmt.Fprintf(w, "%s for %s, in %s:\n", line(made.Name+" "+made.Version, 40), strings.Join(made.Platforms, ", "), safe(made.Folder))
	for _, name := range made.Files {
		fmt.Fprintln(w, "  "+safe(name))
	}
	if made.Key == "" {
		indented(w, "", "It is not signed: nobody vouches for it. --sign does, with a key of \"kelpie plugin keygen\".")
		return
	}
	indented(w, "", "It is signed. Whoever uses it names the key that you gave him by another way:")
	fmt.Fprintf(w, "\n  publisher \"%s\" {\n    key = \"%s\"\n  }\n", made.Name, made.Key)
}

// maxKeyFile bounds a file with a key or a password, in bytes.
const maxKeyFile = 4 << 10

func readKeyFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &codeError{exitNothing, "there is no file " + path}
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxKeyFile))
}

// signer reads a secret key, and its password from a file or a person.
func (p program) signer(path, passwords string) (release.Signer, error) {
	text, err := readKeyFile(path)
	if err != nil {
		return release.Signer{}, err
	}
	s, err := release.ReadSigner(text, func() (string, error) { return p.password("Password of "+path, passwords) })
	if err != nil {
		return s, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// password comes from a file, or from a person at a terminal, and never from an
// argument, which others on the machine can see.
func (p program) password(prompt, path string) (string, error) {
	if path != "" {
		text, err := readKeyFile(path)
		return string(bytes.TrimRight(text, "\r\n")), err
	}
	if !isTerminalInput(p.in) {
		return "", errors.New("it has a password, and there is no terminal to ask for it; --password-file names a file")
	}
	fmt.Fprint(p.err, safe(prompt)+": ")
	text, err := term.ReadPassword(int(p.in.(*os.File).Fd()))
	fmt.Fprintln(p.err)
	return string(text), err
}

func (p program) pluginKeygenCommand(o *options) *cobra.Command {
	var passwords string
	var open bool
	c := &cobra.Command{
		Use: "keygen FILE", Short: "Make a key to sign releases with: FILE, and FILE.pub for others", Args: cobra.ExactArgs(1),
		Long: "Make a key to sign releases with: FILE, which is secret, and FILE.pub, which others name in a publisher block.\n\n" +
			"Both are minisign's, and can be made and used by it as well. Keep the secret key where the releases are not.",
		RunE: func(_ *cobra.Command, args []string) error {
			if open && passwords != "" {
				return usage("--no-password and --password-file exclude each other")
			}
			word := ""
			if !open {
				var err error
				if word, err = p.newPassword(passwords); err != nil {
					return err
				}
			}
			key, err := keygen(args[0], word)
			if err != nil {
				return err
			}
			if o.json {
				return printJSON(p.out, map[string]string{"secret": args[0], "public": args[0] + ".pub", "key": key.String()})
			}
			fmt.Fprintf(p.out, "%s is secret, %s.pub is for others. Its key:\n\n  %s\n", safe(args[0]), safe(args[0]), key)
			return nil
		},
	}
	c.Flags().StringVar(&passwords, "password-file", "", "a file with the password, instead of asking for it")
	c.Flags().BoolVar(&open, "no-password", false, "whoever can read the file can sign")
	return c
}

func (p program) newPassword(path string) (string, error) {
	word, err := p.password("Password of the new key", path)
	if err != nil {
		return "", err
	}
	if path == "" {
		again, err := p.password("The same again", "")
		if err != nil {
			return "", err
		}
		if again != word {
			return "", errors.New("the two passwords are not the same")
		}
	}
	if word == "" {
		return "", errors.New("the password is empty; --no-password makes a key without one")
	}
	return word, nil
}

// keygen writes two files, neither over another.
func keygen(path, password string) (release.Key, error) {
	s, err := release.NewSigner()
	if err != nil {
		return release.Key{}, err
	}
	secret, err := s.File(password)
	if err != nil {
		return release.Key{}, err
	}
	public, err := s.Key().File()
	if err != nil {
		return release.Key{}, err
	}
	for _, f := range []struct {
		path string
		text []byte
		mode fs.FileMode
	}{{path, secret, 0o600}, {path + ".pub", public, 0o644}} {
		if err := writeNew(filepath.Clean(f.path), f.text, f.mode); err != nil {
			return release.Key{}, err
		}
	}
	return s.Key(), nil
}

func writeNew(path string, text []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already, and a key is not written over another", path)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Sync(), f.Close())
}
