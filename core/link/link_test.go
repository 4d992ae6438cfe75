package link

import (
	"bytes"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var now = time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)

func claim(t *rapid.T) Claim {
	c := Claim{
		Kind: rapid.SampledFrom([]Kind{Question, Digest}).Draw(t, "kind"), ID: rapid.StringMatching(`[ -~]{1,64}`).Draw(t, "id"),
		Address: rapid.StringMatching(`[ -~]{1,200}`).Draw(t, "address"), Expires: now.Add(time.Duration(rapid.IntRange(1, 1e6).Draw(t, "expires")) * time.Second).Local(),
	}
	copy(c.Options[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "options"))
	return c
}

func TestSigned(t *testing.T) {
	k := NewKey()
	rapid.Check(t, func(t *rapid.T) {
		c := claim(t)
		token, err := k.Sign(c)
		if err != nil {
			t.Fatal(err)
		}
		if len(token) > MaxToken || strings.Trim(token, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			t.Fatalf("token %q", token)
		}
		got, err := k.Read(token, now)
		if diff := cmp.Diff(c, got); diff != "" || err != nil {
			t.Fatalf("%v %s", err, diff)
		}
		if got, err := k.Read(token, c.Expires); !errors.Is(err, ErrExpired) || got.ID != c.ID {
			t.Fatalf("at its end: %v", err)
		}
		if _, err := NewKey().Read(token, now); !errors.Is(err, ErrForged) {
			t.Fatalf("by another key: %v", err)
		}
	})
}

// TestForged: no token that differs in a bit, is cut or is longer, or is spelled otherwise, is read.
func TestForged(t *testing.T) {
	k := NewKey()
	token, err := k.Sign(Claim{Kind: Question, ID: "q-1", Address: "kim@example.org", Expires: now.Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := base64.RawURLEncoding.DecodeString(token)
	var all []string
	for i := range len(raw) * 8 {
		other := bytes.Clone(raw)
		other[i/8] ^= 1 << (i % 8)
		all = append(all, base64.RawURLEncoding.EncodeToString(other))
	}
	for i := range len(token) {
		all = append(all, token[:i], token[:i]+"\n"+token[i:], token[:i]+token[i:]+token[:i+1])
	}
	all = append(all, token+"=", token+"A", " "+token, strings.Repeat("A", 1<<20), "", token+token)
	for _, other := range all {
		if c, err := k.Read(other, now); !errors.Is(err, ErrForged) || c != (Claim{}) {
			t.Fatalf("%q: %v %v", other, c, err)
		}
	}
}

func TestWrongClaims(t *testing.T) {
	for name, c := range map[string]Claim{
		"kind": {ID: "q", Address: "a"}, "no id": {Kind: Question, Address: "a"}, "no address": {Kind: Question, ID: "q"},
		"long id":      {Kind: Question, ID: strings.Repeat("q", maxID+1), Address: "a"},
		"long address": {Kind: Question, ID: "q", Address: strings.Repeat("a", maxAddress+1)},
	} {
		if token, err := NewKey().Sign(c); err == nil {
			t.Errorf("%s: %s", name, token)
		}
	}
}

func TestHash(t *testing.T) {
	if Hash([]string{"ab", "c"}) == Hash([]string{"a", "bc"}) || Hash([]string{"a", "b"}) == Hash([]string{"b", "a"}) {
		t.Error("other options have the same hash")
	}
	same := []string{"a", "b"}
	if Hash(same) != Hash(slices.Clone(same)) {
		t.Error("the same options have another hash")
	}
}

func TestOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), File)
	k, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 || info.Size() != KeySize {
		t.Fatalf("%v %v", info, err)
	}
	again, err := Open(path)
	if err != nil || *again != *k {
		t.Fatalf("another start has another key: %v", err)
	}
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 1 {
		t.Errorf("left over: %v", entries)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if again, err = Open(path); err != nil || *again == *k {
		t.Fatalf("a removed key comes again: %v", err)
	}

	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path); err == nil || !strings.Contains(err.Error(), "others may read it") {
		t.Errorf("for all to read: %v", err)
	}
	for _, size := range []int{0, KeySize - 1, KeySize + 1} {
		_ = os.Remove(path)
		if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(path); err == nil || !strings.Contains(err.Error(), "no key of 32 bytes") {
			t.Errorf("of %d bytes: %v", size, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	k := &Key{}
	token, _ := k.Sign(Claim{Kind: Question, ID: "q-1", Address: "kim@example.org", Expires: now.Add(time.Hour)})
	f.Add(token)
	f.Add(token[:20])
	f.Add("")
	f.Fuzz(func(t *testing.T, token string) {
		c, err := k.Read(token, now)
		if errors.Is(err, ErrForged) {
			return
		}
		again, err := k.Sign(c)
		if err != nil || again != token {
			t.Errorf("%q was read, and is not what is signed: %q, %v", token, again, err)
		}
	})
}

// FuzzSigned reads what is signed and whose form is any.
func FuzzSigned(f *testing.F) {
	k := &Key{}
	f.Add([]byte("\x01q12345678\x03q-1kim"))
	f.Fuzz(func(t *testing.T, text []byte) {
		token := encoding.EncodeToString(append(text[:len(text):len(text)], k.mac(text)...))
		if c, err := k.Read(token, now); !errors.Is(err, ErrForged) && (c.ID == "" || c.Address == "") {
			t.Errorf("%q was read as %v", text, c)
		}
	})
}
