package release

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestMinisign: minisign itself takes our keys and signatures, and we take its.
func TestMinisign(t *testing.T) {
	tool, err := exec.LookPath("minisign")
	if err != nil {
		t.Skip("needs minisign")
	}
	run := func(args ...string) error {
		out, err := exec.Command(tool, args...).CombinedOutput()
		if err != nil {
			err = errors.New(string(out))
		}
		return err
	}
	dir, s := t.TempDir(), signer(t)
	packed(t, dir, "1.4.0", &s)
	sums := filepath.Join(dir, "acme_1.4.0_SHA256SUMS")
	if err := run("-V", "-P", s.Key().String(), "-m", sums); err != nil {
		t.Error("ours by minisign:", err)
	}
	if err := run("-V", "-P", signer(t).Key().String(), "-m", sums); err == nil {
		t.Error("minisign takes any key")
	}
	secret, public := filepath.Join(dir, "key"), filepath.Join(dir, "key.pub")
	if err := run("-G", "-W", "-s", secret, "-p", public); err != nil {
		t.Fatal(err)
	}
	if err := run("-S", "-s", secret, "-m", sums, "-t", trustedComment("acme", "1.4.0")); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(public)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ParseKey(strings.Fields(string(text))[len(strings.Fields(string(text)))-1])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fetched(t, source(t, dir), "1.4.0", &key); err != nil {
		t.Error("minisign's by us:", err)
	}
	text, err = os.ReadFile(secret)
	if err != nil {
		t.Fatal(err)
	}
	if theirs, err := ReadSigner(text, nil); err != nil || theirs.Key().String() != key.String() {
		t.Error("minisign's key:", err)
	}
	open, err := s.File("")
	if err != nil {
		t.Fatal(err)
	}
	ours := filepath.Join(dir, "ours")
	if err := os.WriteFile(ours, open, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run("-S", "-W", "-s", ours, "-m", sums); err != nil {
		t.Error("our key by minisign:", err)
	}
}

func TestKeyWithPassword(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a gigabyte for a moment")
	}
	s := signer(t)
	text, err := s.File("open sesame")
	if err != nil {
		t.Fatal(err)
	}
	word := func(w string, err error) func() (string, error) { return func() (string, error) { return w, err } }
	if got, err := ReadSigner(text, word("open sesame", nil)); err != nil || got.Key().String() != s.Key().String() {
		t.Error(err)
	}
	if _, err := ReadSigner(text, word("open barley", nil)); err == nil || !strings.Contains(err.Error(), "password does not open") {
		t.Error(err)
	}
	if _, err := ReadSigner(text, word("", os.ErrClosed)); !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
}

func TestWrongKeys(t *testing.T) {
	if _, err := ReadSigner([]byte("hello"), nil); err == nil {
		t.Error("anything is a secret key")
	}
	good := signer(t).Key().String()
	for _, text := range []string{"", "RW", "RWQ=", good[:len(good)-4], "untrusted comment: x\n" + good, " " + good, good + "\n"} {
		if _, err := ParseKey(text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
	if key, err := ParseKey(good); err != nil || key.String() != good || len(key.ID()) != 16 {
		t.Error(err)
	}
}
