package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/kelpie-sec/kelpie/core/host"
)

// secretName stands for a secret until it is resolved.
type secretName string

var secretForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`)

// secretSound is a name that sounds like a secret's.
var secretSound = regexp.MustCompile(`(?i)(secret|token|password|passwd|passphrase|api_?key|private_?key|credentials?)$`)

// secretValue checks the value of an attribute that is marked secret: secret("…"), or
// a list or object of such.
func (p *parser) secretValue(e hclsyntax.Expression) {
	if _, ok := secretTree(e); ok {
		return
	}
	at := e.Range()
	var call *hclsyntax.FunctionCallExpr
	switch {
	case asCall(e, &call) && call.Name == "secret":
		p.secretErrorf(at, "Not a secret's name", "Write secret(\"NAME\"), with a name of letters, digits, \"-\", \"_\" and \".\".")
	case asCall(e, &call) && call.Name == "env":
		p.secretErrorf(at, "A secret from the environment", "This attribute takes only a secret. Write secret(\"NAME\"): it is read from $KELPIE_SECRET_NAME, or else from a file in secrets_dir.")
	default:
		p.secretErrorf(at, "A secret in clear text", "This attribute takes only a secret, so that none stands in a file. Write secret(\"NAME\"), and put the value into $KELPIE_SECRET_NAME or a file NAME in secrets_dir.")
	}
}

func asCall(e hclsyntax.Expression, call **hclsyntax.FunctionCallExpr) bool {
	c, ok := e.(*hclsyntax.FunctionCallExpr)
	*call = c
	return ok
}

// secretTree is the value of a secret attribute, with names in the secrets' places.
func secretTree(e hclsyntax.Expression) (any, bool) {
	switch e := e.(type) {
	case *hclsyntax.FunctionCallExpr:
		if e.Name != "secret" || len(e.Args) != 1 {
			return nil, false
		}
		name, ok := literalText(e.Args[0])
		return secretName(name), ok && secretForm.MatchString(name)
	case *hclsyntax.TupleConsExpr:
		list := make([]any, len(e.Exprs))
		for i, item := range e.Exprs {
			var ok bool
			if list[i], ok = secretTree(item); !ok {
				return nil, false
			}
		}
		return list, true
	case *hclsyntax.ObjectConsExpr:
		fields := map[string]any{}
		for _, item := range e.Items {
			name, ok := literalKey(item.KeyExpr)
			if !ok {
				return nil, false
			}
			if fields[name], ok = secretTree(item.ValueExpr); !ok {
				return nil, false
			}
		}
		return fields, true
	}
	return nil, false
}

// A SecretReader gives the value of a secret. Its error is for people and must not
// hold a value.
type SecretReader func(name string) (string, error)

// Secrets reads secrets as operators give them: $KELPIE_SECRET_CB_TOKEN for
// "cb-token", else the file dir/cb-token, less one line end. It keeps nothing.
func Secrets(dir string) SecretReader {
	return func(name string) (string, error) {
		variable := "KELPIE_SECRET_" + strings.ToUpper(strings.NewReplacer("-", "_", ".", "_").Replace(name))
		if value, ok := os.LookupEnv(variable); ok {
			return value, nil
		}
		path := filepath.Join(dir, name)
		text, err := os.ReadFile(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return "", fmt.Errorf("neither $%s nor %s is there", variable, path)
		case err != nil:
			return "", errors.New(plain(err))
		case len(text) > MaxFile:
			return "", fmt.Errorf("%s is too large for a secret", path)
		}
		value := strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")
		if value == "" {
			return "", fmt.Errorf("%s is empty", path)
		}
		return value, nil
	}
}

// Resolve gives what the host is told: the enabled instances, with their secrets in
// clear. The result is never logged, printed or stored. A secret that is not there
// is complained about at the block that wants it.
func (c *Config) Resolve(read SecretReader) ([]host.Instance, hcl.Diagnostics) {
	return c.resolve(read, c.instances)
}

// ResolveOne does the same for one instance alone; there are none if the configuration
// does not have it.
func (c *Config) ResolveOne(address string, read SecretReader) ([]host.Instance, hcl.Diagnostics) {
	return c.resolve(read, slices.DeleteFunc(slices.Clone(c.instances), func(i *instance) bool { return i.settings.Address != address }))
}

func (c *Config) resolve(read SecretReader, instances []*instance) ([]host.Instance, hcl.Diagnostics) {
	var out []host.Instance
	var diags hcl.Diagnostics
	known := map[string]string{}
	for _, i := range instances {
		r := resolver{read: read, known: known, config: c}
		settings := i.settings
		settings.Config = r.body(i.section, i.config)
		if i.connection != nil {
			settings.Connection = r.body(i.connection, i.link)
		}
		slices.Sort(r.values)
		settings.Secrets = slices.Compact(r.values)
		out = append(out, settings)
		diags = append(diags, r.diags...)
	}
	if diags.HasErrors() {
		return nil, sorted(diags)
	}
	return out, nil
}

// SecretNames are the names of all secrets that the configuration needs, sorted.
func (c *Config) SecretNames() []string {
	var names []string
	note := func(name string) (string, error) {
		names = append(names, name)
		return "x", nil
	}
	c.Resolve(note)
	slices.Sort(names)
	return slices.Compact(names)
}

// resolver puts secrets into the bodies of one instance.
type resolver struct {
	read    SecretReader
	known   map[string]string
	config  *Config
	section *section
	values  []string
	diags   hcl.Diagnostics
}

func (r *resolver) body(s *section, tree map[string]any) json.RawMessage {
	r.section = s
	text, err := json.Marshal(r.value(tree, nil))
	if err != nil {
		panic(err) // it is made of maps, lists and JSON
	}
	return text
}

func (r *resolver) value(v any, path []string) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for name, inner := range v {
			out[name] = r.value(inner, append(slices.Clone(path), name))
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, inner := range v {
			out[i] = r.value(inner, append(slices.Clone(path), fmt.Sprint(i)))
		}
		return out
	case secretName:
		return r.secret(string(v), path)
	}
	return v
}

func (r *resolver) secret(name string, path []string) string {
	value, ok := r.known[name]
	if !ok {
		var err error
		if value, err = r.read(name); err != nil {
			at, _ := locate(r.section, path)
			d := complaint(at, "Secret not found", "The secret %q cannot be read: %s.", name, err)
			d.Extra = hidden{all: true}
			r.diags = append(r.diags, d)
			return ""
		}
		r.known[name] = value
	}
	r.values = append(r.values, value)
	return value
}
