package host

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Permissions are what a process may touch beyond what every one may: files and folders
// by absolute paths, and TCP ports as "tcp:443" and "listen:8421".
type Permissions struct {
	Read, Write, Network []string
}

// Confinement is how the process of an instance is held to what it needs.
type Confinement struct {
	// Off: it may do whatever Kelpie's account may.
	Off bool
	// Declared is what the plugin asks for: an attribute's name in braces stands for its
	// value. Granted is the operator's own, as it stands.
	Declared, Granted Permissions
	// User, a name or a number, that it runs as; empty: Kelpie's.
	User   string
	Limits Limits
}

// Limits of one process; 0: none.
type Limits struct {
	Memory    int64 // bytes of its own data
	Processes int   // with its threads, of all that it starts
	Files     int   // open at once
	CPU       time.Duration
}

// allowance is what the instances of one process need, sorted and each once.
type allowance struct {
	read, write     []string // paths; of a read one the name may be a pattern
	connect, listen []string // ports; anyPort: all
	state           []string // the instances' own folders
}

const anyPort = "*"

// covers tells whether other needs nothing beyond a.
func (a allowance) covers(other allowance) bool {
	within := func(has, wants []string) bool {
		return !slices.ContainsFunc(wants, func(w string) bool { return !slices.Contains(has, w) })
	}
	port := func(has, wants []string) bool { return slices.Contains(has, anyPort) || within(has, wants) }
	return within(a.read, other.read) && within(a.write, other.write) && within(a.state, other.state) &&
		port(a.connect, other.connect) && port(a.listen, other.listen)
}

// with adds what another one has.
func (a allowance) with(other allowance) allowance {
	join := func(x, y []string) []string {
		all := slices.Concat(x, y)
		slices.Sort(all)
		return slices.Compact(all)
	}
	return allowance{
		read: join(a.read, other.read), write: join(a.write, other.write), state: join(a.state, other.state),
		connect: join(a.connect, other.connect), listen: join(a.listen, other.listen),
	}
}

// folder of the instance's own. Another plugin's at the same address is another one.
func (i *Instance) folder(stateDir string) string {
	name := i.Address + "@" + i.Plugin
	if i.Connector != "" {
		name += "." + i.Connector
	}
	return filepath.Join(stateDir, name)
}

// need is what an instance needs by its configuration. What of it makes no sense is left
// out; why is for the operator.
func (i *Instance) need(stateDir string) (allowance, []string) {
	var a allowance
	var wrong []string
	a.state = []string{i.folder(stateDir)}
	values := i.values()
	paths := func(out *[]string, templates []string) {
		for _, t := range templates {
			for _, path := range expand(t, values) {
				if !filepath.IsAbs(path) {
					wrong = append(wrong, fmt.Sprintf("%q stands for %q, which is no absolute path", t, cut(plain(path), 200)))
					continue
				}
				*out = append(*out, path)
			}
		}
	}
	paths(&a.read, i.Confinement.Declared.Read)
	paths(&a.write, i.Confinement.Declared.Write)
	a.read = append(a.read, i.Confinement.Granted.Read...)
	a.write = append(a.write, i.Confinement.Granted.Write...)
	for _, t := range i.Confinement.Declared.Network {
		for _, text := range expand(t, values) {
			if err := a.network(text); err != nil {
				wrong = append(wrong, fmt.Sprintf("%q %s", t, err)) // not with its value, which may be a secret
			}
		}
	}
	for _, text := range i.Confinement.Granted.Network {
		if a.network(text) != nil {
			wrong = append(wrong, CheckNetwork(text).Error())
		}
	}
	for _, text := range proxies(i.Env) {
		if err := a.network(text); err != nil {
			wrong = append(wrong, "the proxy in its environment "+err.Error())
		}
	}
	return allowance{}.with(a), wrong
}

// proxies are the web proxies that a block names in the environment.
func proxies(env []string) []string {
	var out []string
	for _, line := range env {
		name, value, _ := strings.Cut(line, "=")
		switch strings.ToUpper(name) {
		case "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY":
			if !strings.Contains(value, "://") {
				value = "http://" + value
			}
			out = append(out, "tcp:"+value)
		}
	}
	return out
}

// values of an instance's attributes, as texts; the connection's where the block has none
// of the name. A secret has none: what a process may touch is shown.
func (i *Instance) values() map[string][]string {
	values := map[string][]string{}
	for _, body := range []json.RawMessage{i.Connection, i.Config} {
		var fields map[string]any
		if json.Unmarshal(body, &fields) != nil {
			continue
		}
		for name, v := range fields {
			values[name] = slices.DeleteFunc(textsOf(v), func(text string) bool {
				return text == "" || slices.ContainsFunc(i.Secrets, func(s string) bool { return s != "" && strings.Contains(text, s) })
			})
		}
	}
	return values
}

// textsOf are the texts and numbers of a value, of a list or of a map.
func textsOf(v any) []string {
	var out []string
	switch v := v.(type) {
	case string:
		return []string{v}
	case float64:
		return []string{strconv.FormatFloat(v, 'f', -1, 64)}
	case []any:
		for _, item := range v {
			out = append(out, textsOf(item)...)
		}
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			out = append(out, textsOf(v[name])...)
		}
	}
	return out
}

var braces = regexp.MustCompile(`\{([a-z][a-z0-9_]*)\}`)

// expand gives a permission for each value of the attribute in it; none where it has no
// value.
func expand(template string, values map[string][]string) []string {
	at := braces.FindStringSubmatchIndex(template)
	if at == nil {
		return []string{template}
	}
	var out []string
	for _, rest := range expand(template[at[1]:], values) {
		for _, value := range values[template[at[2]:at[3]]] {
			out = append(out, template[:at[0]]+value+rest)
		}
	}
	return out
}

// CheckNetwork tells what is wrong with a network permission: "tcp:" or "listen:" and a
// port, an address with one, a URL, or "*".
func CheckNetwork(text string) error {
	err := (&allowance{}).network(text)
	if _, rest, _ := strings.Cut(text, ":"); err != nil && err != errNoKind {
		text = rest
	}
	if err != nil {
		return fmt.Errorf("%q %w", cut(plain(text), 80), err)
	}
	return nil
}

func (a *allowance) network(text string) error {
	kind, rest, _ := strings.Cut(text, ":")
	list := map[string]*[]string{"tcp": &a.connect, "listen": &a.listen}[kind]
	if list == nil {
		return errNoKind
	}
	port, err := portOf(rest)
	if err == nil {
		*list = append(*list, port)
	}
	return err
}

// ports that go with a scheme, where a URL names none.
var ports = map[string]string{
	"http": "80", "https": "443", "ws": "80", "wss": "443", "smtp": "587", "smtps": "465",
	"imap": "143", "imaps": "993", "ldap": "389", "ldaps": "636", "amqp": "5672", "amqps": "5671",
	"mqtt": "1883", "mqtts": "8883", "nats": "4222", "redis": "6379", "rediss": "6379",
	"postgres": "5432", "postgresql": "5432", "mysql": "3306", "mongodb": "27017", "socks5": "1080",
}

var (
	errNoKind    = errors.New(`begins with neither "tcp:" nor "listen:"`)
	errNoAddress = errors.New("is no address")
	errNoPort    = errors.New("names no port")
)

// portOf reads the port of an address: a number, host:port, a URL, or anyPort. Its errors
// do not repeat the address, which may hold a password or be a secret as a whole.
func portOf(address string) (string, error) {
	port := address
	switch {
	case address == anyPort:
		return anyPort, nil
	case strings.Contains(address, "://"):
		u, err := url.Parse(address)
		if err != nil {
			return "", errNoAddress
		}
		if port = u.Port(); port == "" {
			port = ports[u.Scheme]
		}
	case strings.Contains(address, ":"):
		var err error
		if _, port, err = net.SplitHostPort(address); err != nil {
			return "", errNoAddress
		}
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return "", errNoPort
	}
	return strconv.FormatUint(n, 10), nil
}
