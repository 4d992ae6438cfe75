//go:build linux

package host

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// What permissions stand for, by the values of a block and its connection.
func TestNeed(t *testing.T) {
	in := Instance{
		Address:    "enrichment.a",
		Plugin:     "well",
		Config:     json.RawMessage(`{"path":"/logs/*/eve.json","files":["/a","/b"],"none":null,"empty":"","port":8443,"url":"https://x.example.org/y","key":"s3cret","rel":"x","odd":"x.example.org"}`),
		Connection: json.RawMessage(`{"url":"https://other.example.org:1","server":"[::1]:389","map":{"x":"/m"}}`),
		Secrets:    []string{"s3cret"},
		Env:        []string{"https_proxy=proxy.example.org:3128", "http_proxy=http://kim:pass%word@proxy"},
	}
	in.Confinement = Confinement{
		Declared: Permissions{
			Read:    []string{"{path}/..", "{files}", "{none}", "{empty}", "/etc/x/{port}.conf", "{key}", "{map}", "{rel}"},
			Write:   []string{"{files}.out"},
			Network: []string{"tcp:{url}", "tcp:{server}", "tcp:{port}", "listen:{none}", "tcp:{odd}", "udp:53"},
		},
		Granted: Permissions{Read: []string{"/opt"}, Network: []string{"listen:514"}},
	}
	got, wrong := in.need("/state")
	want := allowance{
		read:    []string{"/a", "/b", "/etc/x/8443.conf", "/logs/*/eve.json/..", "/m", "/opt"},
		write:   []string{"/a.out", "/b.out"},
		connect: []string{"3128", "389", "443", "8443"}, listen: []string{"514"},
		state: []string{"/state/enrichment.a@well"},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(allowance{})); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	told := strings.Join(wrong, "\n")
	for _, part := range []string{`"{rel}" stands for "x"`, `"tcp:{odd}" names no port`, `"udp:53" begins with neither`, "the proxy in its environment is no address"} {
		if !strings.Contains(told, part) {
			t.Errorf("told %s\nwant %s", told, part)
		}
	}
	// A value may be a secret, and a proxy's address holds one.
	if len(wrong) != 4 || strings.Contains(told, "x.example.org") || strings.Contains(told, "pass") {
		t.Errorf("told %q", wrong)
	}
}

func TestCovers(t *testing.T) {
	a := allowance{read: []string{"/a", "/b"}, connect: []string{anyPort}, listen: []string{"1"}, state: []string{"/s"}}
	for _, c := range []struct {
		other allowance
		want  bool
	}{
		{allowance{}, true},
		{allowance{read: []string{"/b"}, connect: []string{"443"}}, true},
		{allowance{read: []string{"/c"}}, false},
		{allowance{write: []string{"/a"}}, false},
		{allowance{listen: []string{"2"}}, false},
		{allowance{listen: []string{anyPort}}, false},
		{allowance{state: []string{"/t"}}, false},
	} {
		if got := a.covers(c.other); got != c.want {
			t.Errorf("covers %+v: %v", c.other, got)
		}
	}
}

// Which files and folders an allowance comes to.
func TestSurvey(t *testing.T) {
	root := t.TempDir()
	at := func(name string) string { return filepath.Join(root, name) }
	for _, dir := range []string{"logs/a", "logs/b", "home/data", "home/sub"} {
		if err := os.MkdirAll(at(dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"logs/eve.json", "home/eve.json", "home/eve.json.1", "home/eve-2.json", "home/config.hcl", "home/data/kelpie.db"} {
		write(t, at(file), "x")
	}
	if err := os.Symlink(at("home"), at("link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(at("home/data/kelpie.db"), at("logs/innocent")); err != nil {
		t.Fatal(err)
	}
	rotated := []string{"home/eve-2.json", "home/eve.json", "home/eve.json.1"}
	for _, c := range []struct {
		name        string
		read, write string
		want        ground
	}{
		{name: "a file", read: "logs/eve.json", want: ground{files: []string{"logs/eve.json"}}},
		{name: "a file that is not there", read: "logs/none"},
		{name: "a folder", read: "logs", want: ground{folders: []string{"logs"}}},
		{name: "a file's folder", read: "logs/eve.json/..", want: ground{folders: []string{"logs"}}},
		{name: "the folder of a file that is not there", read: "logs/none/..", want: ground{folders: []string{"logs"}}},
		{name: "a pattern", read: "logs/*.json", want: ground{folders: []string{"logs"}}},
		{name: "a pattern of folders", read: "logs/*/eve.json/..", want: ground{folders: []string{"logs"}}},
		{name: "the folder of a file beside the data folder", read: "home/eve.json/..", want: ground{listed: []string{"home"}, files: rotated, narrowed: []string{"home"}}},
		{name: "a pattern beside the data folder", read: "home/eve*", want: ground{listed: []string{"home"}, files: rotated, narrowed: []string{"home"}}},
		{name: "the data folder", read: "home/data", want: ground{listed: []string{"home/data"}, narrowed: []string{"home/data"}}},
		{name: "a file of the data folder", read: "home/data/kelpie.db"},
		{name: "a file of the data folder to write", write: "home/data/kelpie.db"},
		{name: "a new file in the data folder", write: "home/data/new"},
		{name: "a link to a file of the data folder", read: "logs/innocent", write: "logs/innocent"},
		{name: "a link to what holds it", read: "link/eve.json/..", want: ground{listed: []string{"link"}, files: []string{"link/eve-2.json", "link/eve.json", "link/eve.json.1"}, narrowed: []string{"link"}}},
		{name: "a file to write", write: "logs/eve.json", want: ground{written: []string{"logs/eve.json"}}},
		{name: "a file to write that is not there", write: "logs/new", want: ground{written: []string{"logs/new"}}},
		{name: "a file in a folder that is not there", write: "none/new"},
		{name: "a folder to write", write: "logs/a", want: ground{writable: []string{"logs/a"}}},
		{name: "a folder to write that holds the data folder", write: "home", want: ground{narrowed: []string{"home"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			held := confinement{private: []string{at("home/data")}}
			if c.read != "" {
				held.may.read = []string{root + "/" + c.read}
			}
			if c.write != "" {
				held.may.write = []string{root + "/" + c.write}
			}
			got := held.survey(true)
			for _, list := range []*[]string{&got.folders, &got.listed, &got.files, &got.writable, &got.written, &got.narrowed} {
				for n, path := range *list {
					(*list)[n], _ = filepath.Rel(root, path)
				}
			}
			if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(ground{})); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// change prepares other settings and puts them in force.
func change(t *testing.T, h *Host, s Settings) map[string]string {
	t.Helper()
	c, found, err := h.Prepare(t.Context(), s)
	if err != nil || c == nil {
		t.Fatal(found, err)
	}
	effects := c.Effects()
	for _, l := range c.Commit() {
		l.Retire(t.Context())
	}
	return effects
}

// A process goes on with what it may touch: who needs more gets another, and nobody else
// is touched.
func TestChangeThatNeedsMore(t *testing.T) {
	requireLandlock(t, 4)
	dir := t.TempDir()
	first, second := write(t, filepath.Join(dir, "first"), "1"), write(t, filepath.Join(dir, "second"), "2")
	reads := func(address, path string, times int) Instance {
		return trying(address, fakeConfig{Path: path, Times: times, Try: []string{"read " + first, "read " + second}})
	}
	s := settings(t, quick(), reads("enrichment.a", first, 0), reads("enrichment.b", first, 0))
	h := started(t, s, quiet())
	pid := h.Status()[0].PID
	s.Instances = []Instance{reads("enrichment.a", first, 1), reads("enrichment.b", second, 0), reads("enrichment.c", first, 0)}
	got := change(t, h, s)
	if diff := cmp.Diff(map[string]string{"enrichment.a": Changed, "enrichment.b": Replaced, "enrichment.c": Added}, got); diff != "" {
		t.Error(diff)
	}
	all := h.Status()
	if len(all) != 2 || all[0].PID != pid || len(all[0].Instances) != 1 || len(all[1].Instances) != 2 {
		t.Errorf("processes: %+v", all)
	}
	const no = "permission denied"
	for address, want := range map[string][2]string{"enrichment.a": {"done", no}, "enrichment.b": {"done", "done"}} {
		said := tried(t, h, address)
		if !strings.HasSuffix(said["read "+first], want[0]) || !strings.HasSuffix(said["read "+second], want[1]) {
			t.Errorf("%s: %v, want %v", address, said, want)
		}
	}
	// Less is given back with the next start, and no reason for one.
	s.Instances = s.Instances[:1]
	change(t, h, s)
	if all = h.Status(); len(all) != 1 || all[0].PID != pid {
		t.Errorf("processes: %+v", all)
	}
}

// A file that is replaced, or comes later, may be read once the plugin is started again,
// which happens by itself.
func TestReplacedFileIsReadAgain(t *testing.T) {
	requireLandlock(t, 4)
	dir := t.TempDir()
	table, late := write(t, filepath.Join(dir, "table"), "1"), filepath.Join(dir, "late")
	a := trying("enrichment.a", fakeConfig{Path: table, Server: "", Try: []string{"read " + table, "read " + late}})
	a.Confinement.Granted.Read = []string{late}
	h := started(t, settings(t, quick(), a), quiet())
	pid := h.Status()[0].PID
	if got := tried(t, h, "enrichment.a"); got["read "+table] != "done" {
		t.Fatal(got)
	}
	if err := os.Rename(write(t, filepath.Join(dir, "new"), "2"), table); err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, "the new table", func() bool { return tried(t, h, "enrichment.a")["read "+table] == "done" })
	if now := h.Status()[0]; now.PID == pid || now.LastError != "" {
		t.Errorf("status: %+v", now)
	}
	write(t, late, "3")
	eventually(t, 20*time.Second, "what came late", func() bool { return tried(t, h, "enrichment.a")["read "+late] == "done" })
	// What is written to, and what goes, is no reason.
	write(t, table, "4")
	os.Remove(late)
	one := h.supervisors[0]
	one.mu.Lock()
	defer one.mu.Unlock()
	if one.process == nil || one.launch.outgrown(one.process) {
		t.Error("it would be started again")
	}
}

// What a block names and the plugin does not declare is told where it stands.
func TestPathsOutsideAreTold(t *testing.T) {
	requireLandlock(t, 4)
	a := trying("enrichment.a", fakeConfig{Path: "/etc/hostname"})
	a.Confinement.Declared.Read = nil
	_, found := startedWith(t, settings(t, quick(), a), quiet())
	if len(found) != 1 || !found[0].Warning || !cmp.Equal(found[0].Path, []string{"path"}) || !strings.Contains(found[0].Detail, `write plugin "fake" { read = ["/etc/hostname"] }`) {
		t.Errorf("diagnostics: %+v", found)
	}
	// What the kernel refused is explained.
	a = enrichment("enrichment.a", "well", "open /etc/shadow")
	_, found = startedWith(t, settings(t, quick(), a), quiet())
	if len(found) != 1 || !strings.Contains(found[0].Detail, `permission denied. The plugin is confined: "kelpie plugin list" says what it may touch`) {
		t.Errorf("diagnostics: %+v", found)
	}
}
