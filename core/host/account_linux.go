package host

import (
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
)

// handOver gives a folder, with what is in it from another user's time, to the user of a
// process. The folder itself is the last, so that what was cut short is done again.
// Nothing outside of it is reached, whatever links the other user makes meanwhile.
func handOver(folder string, to *syscall.Credential) error {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return err
	}
	defer root.Close()
	info, err := root.Stat(".")
	if err != nil {
		return err
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); ok && owner.Uid == to.Uid && owner.Gid == to.Gid {
		return nil
	}
	err = fs.WalkDir(root.FS(), ".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || path == "." {
			return err
		}
		return root.Lchown(path, int(to.Uid), int(to.Gid))
	})
	if err != nil {
		return err
	}
	return root.Chown(".", int(to.Uid), int(to.Gid))
}

// give hands a file to the user of the process.
func (c *confinement) give(file *os.File) {
	if credential, err := credentialOf(c.user); c.user != "" && err == nil {
		_ = file.Chown(int(credential.Uid), int(credential.Gid))
	}
}

// closed gives the folder above a path through which the process's user may not pass;
// empty: there is none.
func (c *confinement) closed(path string) string {
	credential, err := credentialOf(c.user)
	if c.user == "" || err != nil {
		return ""
	}
	closed := ""
	for path != filepath.Dir(path) {
		path = filepath.Dir(path)
		info, err := os.Stat(path)
		if err != nil {
			continue
		}
		owner, ok := info.Sys().(*syscall.Stat_t)
		pass := fs.FileMode(0o001)
		switch {
		case !ok:
			continue
		case owner.Uid == credential.Uid:
			pass = 0o100
		case owner.Gid == credential.Gid || slices.Contains(credential.Groups, owner.Gid):
			pass = 0o010
		}
		if info.Mode().Perm()&pass == 0 {
			closed = path
		}
	}
	return closed
}

// letPass lets other users through folders of the core's, to what is theirs; they see
// nothing of what else is there.
func letPass(folder string, depth int) error {
	for range depth {
		info, err := os.Stat(folder)
		if err != nil {
			return err
		}
		owner, ok := info.Sys().(*syscall.Stat_t)
		if ok && int(owner.Uid) == os.Geteuid() && info.Mode().Perm()&0o001 == 0 {
			if err := os.Chmod(folder, info.Mode().Perm()|0o001); err != nil {
				return err
			}
		}
		folder = filepath.Dir(folder)
	}
	return nil
}

// credentialOf a user by name or number.
func credentialOf(name string) (*syscall.Credential, error) {
	u, err := user.Lookup(name)
	if err != nil {
		if n, wrong := strconv.ParseUint(name, 10, 32); wrong == nil {
			if u, err = user.LookupId(name); err != nil {
				return &syscall.Credential{Uid: uint32(n), Gid: uint32(n)}, nil
			}
		} else {
			return nil, fmt.Errorf("it is to run as user %q, and there is none of that name", name)
		}
	}
	var c syscall.Credential
	for _, id := range []struct {
		text string
		to   *uint32
	}{{u.Uid, &c.Uid}, {u.Gid, &c.Gid}} {
		n, err := strconv.ParseUint(id.text, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("user %q: %w", name, err)
		}
		*id.to = uint32(n)
	}
	groups, _ := u.GroupIds()
	for _, g := range groups {
		if n, err := strconv.ParseUint(g, 10, 32); err == nil {
			c.Groups = append(c.Groups, uint32(n))
		}
	}
	return &c, nil
}
