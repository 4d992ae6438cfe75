package config

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/kelpie-sec/kelpie/core/model"
)

// Bounds of a configuration.
const (
	MaxFile   = 1 << 20 // bytes of one file, also of one that file() reads
	MaxSource = 6 << 20 // bytes of an encoded Source
)

// Source is all that a configuration is made from, except secrets. It is a plain
// value: encoded, kept and decoded it gives the same configuration, together with the
// contents of its tables, which are kept by their hashes.
type Source struct {
	// Files of HCL, by name.
	Files []File `json:"files"`
	// Env is what env() has read; null: not set.
	Env map[string]*string `json:"env,omitempty"`
	// Texts is what file() has read, by the path that was written.
	Texts map[string]Text `json:"texts,omitempty"`
	// Variables that were given from outside, as text.
	Variables map[string]string `json:"variables,omitempty"`
	// Presets of the score, as HCL, by name: those that are used.
	Presets map[string]string `json:"presets,omitempty"`
	// Plugins that the configuration names, as they described themselves, by name.
	Plugins []model.Plugin `json:"plugins,omitempty"`

	// Tables by address, each with the version of its file.
	Tables map[string]TableVersion `json:"tables,omitempty"`

	// Known are the names of all plugins that have a schema, for messages. Dir is the absolute folder that relative paths begin at, and Prefix is what
	// stands before a file's name in messages. Decisions do not depend on them.
	Known  []string `json:"-"`
	Dir    string   `json:"-"`
	Prefix string   `json:"-"`
	// Single: one file is the whole configuration, and no other of its folder is read.
	Single bool `json:"-"`

	// Folders of packs and modules, absolute: what lies in one is read in it alone.
	Folders []string `json:"-"`
	// Problems are why packs and modules were not read, by their addresses.
	Problems map[string]string `json:"-"`
	// Contents are the files of the tables, by their hashes: what is large is not in the text.
	Contents map[string][]byte `json:"-"`
	// Syntax of Files, as Load has read it for tests; nil: it is not kept.
	Syntax []*hclsyntax.Body `json:"-"`
	// Tabled are tables that need not be made again.
	Tabled Known `json:"-"`
}

// File of HCL. Name is relative to the folder. Unit is the address of the pack or module
// that it is of; empty: it is the configuration's own.
type File struct {
	Name string `json:"name"`
	Text string `json:"text"`
	Unit string `json:"unit,omitempty"`
}

// Text is what file() gave, or why it gave nothing.
type Text struct {
	Text    string `json:"text,omitempty"`
	Problem string `json:"problem,omitempty"`
}

// Encode gives the source as JSON: the same bytes for the same source.
func (s *Source) Encode() ([]byte, error) {
	text, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	if len(text) > MaxSource {
		return nil, fmt.Errorf("configuration is %d bytes with all that it reads; it may be %d", len(text), MaxSource)
	}
	return text, nil
}

// DecodeSource reads what Encode gave.
func DecodeSource(text []byte) (*Source, error) {
	if len(text) > MaxSource {
		return nil, errors.New("configuration is too large")
	}
	s := &Source{}
	if err := json.Unmarshal(text, s); err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	return s, nil
}

// Hash is the SHA-256 of Encode in hexadecimal: the name of this version.
func (s *Source) Hash() (string, error) {
	text, err := s.Encode()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}

// Version is what INPUTS carries of this configuration.
func (s *Source) Version() (model.Config, error) {
	text, err := s.Encode()
	if err != nil {
		return model.Config{}, err
	}
	sum := sha256.Sum256(text)
	return model.Config{Hash: hex.EncodeToString(sum[:]), Text: text, Tables: s.versions()}, nil
}

// shown is a file's name in messages.
func (s *Source) shown(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(s.Prefix, name)
}

// plugin of that name, or nil.
func (s *Source) plugin(name string) *model.Plugin {
	for i := range s.Plugins {
		if s.Plugins[i].Name == name {
			return &s.Plugins[i]
		}
	}
	return nil
}

// env and file make a Source a world: what is not in it does not exist.

func (s *Source) env(name string) (string, bool) {
	if v := s.Env[name]; v != nil {
		return *v, true
	}
	return "", false
}

func (s *Source) file(path string) (string, error) {
	text, ok := s.Texts[path]
	switch {
	case !ok:
		return "", errors.New("the file has not been read")
	case text.Problem != "":
		return "", errors.New(text.Problem)
	}
	return text.Text, nil
}

func usable(text []byte) error {
	switch {
	case len(text) > MaxFile:
		return fmt.Errorf("it is larger than %d KiB", MaxFile>>10)
	case !utf8.Valid(text):
		return errors.New("it is not UTF-8 text")
	}
	return nil
}
