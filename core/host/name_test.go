//go:build linux

package host

import (
	"os"
	"strings"
	"testing"
)

// TestOneNameOfTwo: two plugins that call themselves the same run side by side, each by
// the name that the lock has for it; one that is not what it is locked as does not.
func TestOneNameOfTwo(t *testing.T) {
	first, second := enrichment("enrichment.a", "well", ""), enrichment("enrichment.b", "well", "")
	second.Plugin = "rival"
	s := settings(t, quick(), first, second)
	s.PluginDir, s.Lock = fakeBinary(t, "fake", "rival")
	other, err := os.ReadFile(pluginPath(s.PluginDir, "rival"))
	if err != nil {
		t.Fatal(err)
	}
	path := pluginPath(s.PluginDir, "rival")
	if err := os.Remove(path); err != nil { // it may be a link to the first
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(other, "of another vendor"...), 0o755); err != nil {
		t.Fatal(err)
	}
	exe, err := openExecutable(path)
	if err != nil {
		t.Fatal(err)
	}
	exe.close()
	s.Lock.Plugins[1].Own, s.Lock.Plugins[1].SHA256 = "fake", map[string]string{Platform(): exe.sha256}
	h := started(t, s, quiet())
	for _, address := range []string{"enrichment.a", "enrichment.b"} {
		if _, err := enricher(t, h, address).Enrich(t.Context(), ask(1)); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
	all := h.Status()
	if len(all) != 2 || all[0].Plugin != "fake" || all[1].Plugin != "rival" || all[0].SHA256 == all[1].SHA256 {
		t.Errorf("%+v", all)
	}

	s = settings(t, quick(), second)
	s.PluginDir, s.Lock = fakeBinary(t, "fake", "rival")
	_, found := startedWith(t, s, quiet())
	if len(found) != 1 || !strings.Contains(found[0].Detail, `says that it is plugin "fake", and not "rival"`) {
		t.Errorf("%+v", found)
	}
}
