package host

import (
	"cmp"
	"crypto/subtle"
	"fmt"
	"runtime"
)

// Lock pins the executables: a plugin that is not in it is not started.
type Lock struct {
	Plugins []LockedPlugin
}

// LockedPlugin is one entry of the lock.
type LockedPlugin struct {
	Name    string // as the configuration calls it
	Version string
	// Own is what it calls itself; empty: the same.
	Own string
	// Source is where it was fetched from, and Publisher the key of who has signed it;
	// empty: it was locked as somebody had put it there.
	Source    string
	Publisher string
	// SHA256 of the executable by platform (see Platform), in lower-case hexadecimal.
	SHA256 map[string]string
}

// OwnName is what the plugin calls itself.
func (p LockedPlugin) OwnName() string { return cmp.Or(p.Own, p.Name) }

// command that makes the entry anew.
func (p LockedPlugin) command() string {
	if p.Source != "" {
		return "kelpie init"
	}
	return "kelpie plugin lock"
}

// own is what a plugin of the configuration must call itself.
func (l Lock) own(name string) string {
	for _, p := range l.Plugins {
		if p.Name == name {
			return p.OwnName()
		}
	}
	return name
}

// fetch is the command that gets a plugin; empty: somebody puts it there.
func (l Lock) fetch(name string) string {
	for _, p := range l.Plugins {
		if p.Name == name && p.Source != "" {
			return p.command()
		}
	}
	return ""
}

// Platform is the key of this machine's executables in a lock: "linux_amd64".
func Platform() string { return runtime.GOOS + "_" + runtime.GOARCH }

// sum is the sha256 of a plugin's executable on this machine; empty: it has none.
func (l Lock) sum(name string) string {
	for _, p := range l.Plugins {
		if p.Name == name {
			return p.SHA256[Platform()]
		}
	}
	return ""
}

// verify tells whether sum may be started as the plugin of that name. file is the
// lock's own, for the message.
func (l Lock) verify(name, path, sum, file string) error {
	for _, p := range l.Plugins {
		if p.Name != name {
			continue
		}
		want, ok := p.SHA256[Platform()]
		switch {
		case !ok:
			return fmt.Errorf("%s has no sha256 of plugin %q for %s: run %q on this machine", file, name, Platform(), p.command())
		case subtle.ConstantTimeCompare([]byte(want), []byte(sum)) != 1:
			return fmt.Errorf("%s is not the file that was locked: its sha256 is %s, %s says %s; "+
				"if you replaced it yourself, run %q", path, sum, file, want, p.command())
		}
		return nil
	}
	return fmt.Errorf("plugin %q is not in %s: run \"kelpie plugin lock\"", name, file)
}
