package host

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// confinement is how one process is confined.
type confinement struct {
	off     bool
	may     allowance
	private []string // what is nobody's but the core's, absolute
	user    string
	limits  Limits
	// becomes: this program itself becomes the plugin's, and the core is its parent.
	becomes bool
}

// baseline is what every process may read, and run: what programs need to run at all.
func baseline() []string {
	return []string{
		"/bin", "/sbin", "/lib", "/lib32", "/lib64",
		"/usr/bin", "/usr/sbin", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libexec", "/usr/share",
		"/usr/local/bin", "/usr/local/lib", "/usr/local/lib64", "/usr/local/share",
		"/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives",
		"/etc/resolv.conf", "/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager/resolv.conf",
		"/etc/hosts", "/etc/host.conf", "/etc/nsswitch.conf", "/etc/gai.conf", "/etc/services", "/etc/protocols",
		"/etc/ssl/certs", "/etc/ssl/cert.pem", "/etc/ssl/ca-bundle.pem", "/etc/ssl/openssl.cnf",
		"/etc/pki/ca-trust/extracted", "/etc/pki/tls/certs", "/etc/pki/tls/cert.pem", "/etc/pki/tls/openssl.cnf",
		"/etc/crypto-policies", "/etc/ca-certificates", "/etc/localtime", "/etc/timezone", "/etc/mime.types",
		"/proc", "/sys/devices/system/cpu", "/sys/fs/cgroup", "/sys/kernel/mm/transparent_hugepage",
		"/dev/random", "/dev/urandom",
	}
}

// devices that every process may also write.
func devices() []string { return []string{"/dev/null", "/dev/zero", "/dev/full"} }

// guarded is what no folder that is granted as a whole may hold, besides the core's own.
func guarded() []string {
	all := []string{"/etc/shadow", "/etc/gshadow", "/etc/ssh", "/root", "/proc", "/sys", "/dev", "/boot"}
	keys, _ := filepath.Glob("/home/*/.ssh")
	return append(all, keys...)
}

// ground is what an allowance comes to on the disk, as that is now.
type ground struct {
	folders  []string // read, with all below
	listed   []string // folders that may be listed, with all below
	files    []string // read
	writable []string // folders written, with all below
	written  []string // files
	// apart: what the thread starts is in a name space of processes of its own, which ends
	// with the first of them.
	apart bool
	// narrowed are the folders that hold what is not for the process: of them it has only
	// files that are there now.
	narrowed []string
	lacks    []string // what its confinement lacks, as it has turned out
}

// survey finds out what a process may touch. Files that it may write, and that are not
// there, are made if that is asked for, so that their folder need not be granted.
func (c *confinement) survey(create bool) ground {
	var g ground
	for _, path := range c.may.read {
		g.read(c, path)
	}
	for _, path := range c.may.write {
		g.write(c, path, create)
	}
	return g
}

// above is the folder and the pattern of the names in it, if a path is written as that
// of a file and "/..": the folder of a log and of what rotation makes of it.
func above(path string) (folder, names string, ok bool) {
	file, ok := strings.CutSuffix(path, "/..")
	if !ok {
		return "", "", false
	}
	base := filepath.Base(file)
	return filepath.Dir(file), strings.TrimSuffix(base, filepath.Ext(base)) + "*", true
}

func (g *ground) read(c *confinement, path string) {
	folder, names, ok := above(path)
	switch {
	case ok:
	case isPattern(path):
		folder, names = filepath.Split(path)
	default:
		folder, names = path, "*"
	}
	if root := literal(folder); root != filepath.Clean(folder) {
		names, folder = strings.TrimPrefix(filepath.Clean(folder), strings.TrimSuffix(root, "/")+"/")+"/"+names, root
	}
	folder = filepath.Clean(folder)
	info, err := os.Stat(folder)
	switch {
	case err != nil: // it is looked for again, by who asks whether all is as it was
	case !info.IsDir():
		if !c.forbids(folder) {
			g.files = append(g.files, folder)
		}
	case !c.holdsPrivate(folder):
		g.folders = append(g.folders, folder)
	default:
		g.narrowed, g.listed = append(g.narrowed, folder), append(g.listed, folder)
		found, _ := filepath.Glob(filepath.Join(folder, names))
		g.files = append(g.files, slices.DeleteFunc(found, func(path string) bool { return !isFile(path) || c.forbids(path) })...)
	}
}

func (g *ground) write(c *confinement, path string, create bool) {
	if folder, _, ok := above(path); ok {
		path = folder
	}
	path = filepath.Clean(path)
	info, err := os.Stat(path)
	switch {
	case err == nil && !info.IsDir():
		if !c.forbids(path) {
			g.written = append(g.written, path)
		}
	case err == nil && c.holdsPrivate(path):
		g.narrowed = append(g.narrowed, path)
	case err == nil:
		g.writable = append(g.writable, path)
	case create && os.IsNotExist(err) && !c.forbids(path):
		if f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600); err == nil {
			c.give(f)
			f.Close()
			g.written = append(g.written, path)
		}
	}
}

func isPattern(path string) bool { return strings.ContainsAny(path, `*?[`) }

// literal is the part of a path before the first folder whose name is a pattern.
func literal(path string) string {
	path = filepath.Clean(path)
	for isPattern(path) {
		path = filepath.Dir(path)
	}
	return path
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// holdsPrivate tells whether something in a folder, or the folder itself, is not for a
// plugin.
func (c *confinement) holdsPrivate(folder string) bool {
	folder = real(folder)
	for _, path := range slices.Concat(c.private, guarded()) {
		if path = real(path); within(path, folder) || within(folder, path) {
			return true
		}
	}
	return false
}

// forbids tells whether a file is one that no process gets, whoever asks for it, by
// whatever link.
func (c *confinement) forbids(path string) bool {
	path = real(path)
	return slices.ContainsFunc(slices.Concat(c.private, guarded()), func(folder string) bool { return within(path, real(folder)) })
}

// real is the path without symbolic links, as far as it is there.
func real(path string) string {
	if resolved, err := filepath.EvalSymlinks(path); err == nil {
		return resolved
	}
	return filepath.Clean(path)
}

// within tells whether a path is a folder or below it.
func within(path, folder string) bool {
	return path == folder || strings.HasPrefix(path, strings.TrimSuffix(folder, "/")+"/")
}

// stamp is which files an allowance comes to. A right is bound to the file itself: where
// another takes its name, a process that is started again may read that.
type stamp map[string]os.FileInfo

func (g ground) stamp() stamp {
	s := stamp{}
	for _, path := range slices.Concat(g.folders, g.files, g.writable, g.written) {
		if info, err := os.Stat(path); err == nil {
			s[path] = info
		}
	}
	return s
}

// grown tells whether there is something that was not there, or was something else.
func (s stamp) grown(now stamp) bool {
	for path, info := range now {
		if was := s[path]; was == nil || !os.SameFile(was, info) {
			return true
		}
	}
	return false
}

// allows tells whether a path is among what the process may read or write by its block.
func (c *confinement) allows(path string) bool {
	g := c.survey(false)
	for _, folder := range slices.Concat(g.folders, g.writable, c.may.state) {
		if within(real(path), real(folder)) {
			return true
		}
	}
	return slices.ContainsFunc(slices.Concat(g.files, g.written), func(f string) bool { return real(f) == real(path) }) ||
		slices.Contains(c.may.read, path) || slices.Contains(c.may.write, path)
}
