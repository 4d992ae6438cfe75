package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestNode: the same plugin in JavaScript, in examples/node, passes the same suite.
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
	if _, err := os.Stat(filepath.Join(folder, "node_modules")); err != nil {
		npm := exec.CommandContext(t.Context(), "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
		npm.Dir = folder
		if out, err := npm.CombinedOutput(); err != nil {
			t.Fatalf("npm ci: %v\n%s", err, out)
		}
	}
	test := exec.CommandContext(t.Context(), "node", "--test")
	test.Dir = folder
	if out, err := test.CombinedOutput(); err != nil {
		t.Errorf("node --test: %v\n%s", err, out)
	}
	conform(t, filepath.Join(folder, "acme.js"))
}
