package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestNode: the same plugin in JavaScript, in examples/node, passes the same suite, as the
// one file that Kelpie is given; and what it serves by is the contract as it is.
func TestNode(t *testing.T) {
	if testing.Short() {
		t.Skip("runs real processes")
	}
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip("there is no " + program + " here")
		}
	}
	folder, err := filepath.Abs("../../../examples/node")
	if err != nil {
		t.Fatal(err)
	}
	run := func(command string) []byte {
		t.Helper()
		words := strings.Fields(command)
		c := exec.CommandContext(t.Context(), words[0], words[1:]...)
		c.Dir = folder
		var errors bytes.Buffer
		c.Stderr = &errors
		out, err := c.Output()
		if err != nil {
			t.Fatalf("%s: %v\n%s%s", command, err, out, &errors)
		}
		return out
	}
	if _, err := os.Stat(filepath.Join(folder, "node_modules", "esbuild")); err != nil {
		run("npm ci --ignore-scripts --no-audit --no-fund --prefer-offline")
	}
	run("node --test")
	run("npm run build")
	if have, err := os.ReadFile(filepath.Join(folder, "contract.json")); err != nil || !bytes.Equal(have, run("node contract.js")) {
		t.Errorf(`contract.json is not that of sdk/proto; "npm run contract" in examples/node makes it anew (%v)`, err)
	}
	conform(t, filepath.Join(folder, "plugins", "acme"))
}
