package storytest_test

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"text/template"
	"time"
)

// owner of the mailboxes: nobody's, but not root, whose mailboxes no server serves.
const owner = 5000

// servers are a Postfix that takes mails for kim and lee of example.org, and a Dovecot that
// shows them over IMAP. They have folders and ports of their own; the system's are not
// touched.
type servers struct {
	Dir        string
	SMTP, IMAP string // addresses
}

func (s servers) SMTPPort() string { _, port, _ := net.SplitHostPort(s.SMTP); return port }
func (s servers) IMAPPort() string { _, port, _ := net.SplitHostPort(s.IMAP); return port }

const daemons = "/usr/lib/postfix/sbin"

var settings = map[string]string{
	"postfix/etc/main.cf": `compatibility_level = 3.6
queue_directory = {{.Dir}}/postfix/queue
data_directory = {{.Dir}}/postfix/data
command_directory = /usr/sbin
daemon_directory = ` + daemons + `
maillog_file = {{.Dir}}/postfix/log
maillog_file_prefixes = {{.Dir}}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mail.example.org
mydestination =
mynetworks = 127.0.0.0/8
alias_maps =
alias_database =
virtual_mailbox_domains = example.org
virtual_mailbox_base = {{.Dir}}/mail
virtual_mailbox_maps = inline:{kim@example.org=kim/Maildir/, lee@example.org=lee/Maildir/}
virtual_minimum_uid = 5000
virtual_uid_maps = static:5000
virtual_gid_maps = static:5000
default_transport = error:no mail leaves this machine
`,
	"postfix/etc/master.cf": `127.0.0.1:{{.SMTPPort}} inet n - n - - smtpd
pickup    unix       n - n 60    1 pickup
cleanup   unix       n - n -     0 cleanup
qmgr      unix       n - n 300   1 qmgr
rewrite   unix       - - n -     - trivial-rewrite
bounce    unix       - - n -     0 bounce
defer     unix       - - n -     0 bounce
trace     unix       - - n -     0 bounce
verify    unix       - - n -     1 verify
flush     unix       n - n 1000? 0 flush
proxymap  unix       - - n -     - proxymap
error     unix       - - n -     - error
retry     unix       - - n -     - error
virtual   unix       - n n -     - virtual
anvil     unix       - - n -     1 anvil
postlog   unix-dgram n - n -     1 postlogd
`,
	"dovecot/dovecot.conf": `base_dir = {{.Dir}}/dovecot/run
state_dir = {{.Dir}}/dovecot/state
log_path = {{.Dir}}/dovecot/log
info_log_path = /dev/null
protocols = imap
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
mail_location = maildir:~/Maildir
passdb {
  driver = static
  args = password=secret
}
userdb {
  driver = static
  args = uid=5000 gid=5000 home={{.Dir}}/mail/%n
}
service imap-login {
  inet_listener imap {
    port = {{.IMAPPort}}
  }
  inet_listener imaps {
    port = 0
  }
}
`,
}

// startServers starts both; they are stopped when the test is over.
func startServers(t *testing.T) servers {
	t.Helper()
	for _, program := range []string{"postfix", "dovecot", filepath.Join(daemons, "master"), "/usr/lib/dovecot/imap"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not there: \"make story\" installs Postfix and Dovecot", program)
		}
	}
	if os.Getuid() != 0 {
		t.Skip("Postfix wants to be started by root")
	}
	s := servers{Dir: shortDir(t), SMTP: freeAddress(t), IMAP: freeAddress(t)}
	for _, dir := range []string{"postfix/etc", "postfix/queue", "postfix/data", "dovecot", "mail"} {
		must(t, os.MkdirAll(filepath.Join(s.Dir, dir), 0o755))
	}
	for name, text := range settings {
		var out bytes.Buffer
		must(t, template.Must(template.New(name).Parse(text)).Execute(&out, s))
		must(t, os.WriteFile(filepath.Join(s.Dir, name), out.Bytes(), 0o644))
	}
	postfix, err := user.Lookup("postfix")
	must(t, err)
	uid, err := strconv.Atoi(postfix.Uid)
	must(t, err)
	must(t, os.Chown(filepath.Join(s.Dir, "postfix/data"), uid, -1))
	must(t, os.Chown(filepath.Join(s.Dir, "mail"), owner, owner))

	s.start(t, "postfix", "postfix", "-c", filepath.Join(s.Dir, "postfix/etc"), "start-fg")
	s.start(t, "dovecot", "dovecot", "-F", "-c", filepath.Join(s.Dir, "dovecot/dovecot.conf"))
	for _, address := range []string{s.SMTP, s.IMAP} {
		until(t, address+" answers", func() bool {
			c, err := net.DialTimeout("tcp", address, time.Second)
			if err == nil {
				c.Close()
			}
			return err == nil
		})
	}
	return s
}

// start runs a server in a group of its own, until the test is over. What it has logged is
// shown if the test fails.
func (s servers) start(t *testing.T, name string, args ...string) {
	t.Helper()
	c := exec.Command(args[0], args[1:]...)
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := os.Create(filepath.Join(s.Dir, name, "out"))
	must(t, err)
	defer out.Close()
	c.Stdout, c.Stderr = out, out
	must(t, c.Start())
	t.Cleanup(func() {
		if name == "postfix" { // what its script has started is no child of ours
			if out, err := exec.Command("postfix", "-c", filepath.Join(s.Dir, "postfix/etc"), "stop").CombinedOutput(); err != nil {
				t.Errorf("postfix does not stop: %v\n%s", err, out)
			}
		}
		_ = syscall.Kill(-c.Process.Pid, syscall.SIGTERM)
		_ = c.Wait()
		for _, file := range []string{"out", "log"} {
			if text, err := os.ReadFile(filepath.Join(s.Dir, name, file)); err == nil && t.Failed() {
				t.Logf("%s of %s:\n%s", file, name, text)
			}
		}
	})
}

// shortDir is a folder that every user can pass through, with a path that is short enough
// for sockets.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "story")
	must(t, err)
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	must(t, os.Chmod(dir, 0o711))
	return dir
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	return l.Addr().String()
}
