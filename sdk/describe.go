package sdk

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/sdk/pluginv1"
)

var bracesForm = regexp.MustCompile(`\{([^{}]*)\}`)

var versionForm = regexp.MustCompile(`^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$`)

// connector is a Connector with what its code says about it.
type connector struct {
	Connector
	body    *body
	verbs   []verb
	answers bool
}

// verb is a Verb with the schema of its parameters.
type verb struct {
	Verb
	body *body
}

// describe reads a plugin once, before it serves: the schemas from its config structs
// and what its instances can do from the interfaces that they implement. The error
// tells the author what contradicts itself.
func describe(p Plugin) (*pluginv1.DescribeResponse, []connector, *body, error) {
	if !nameForm.MatchString(p.Name) {
		return nil, nil, nil, fmt.Errorf("its name %q must be lower-case letters, digits and _", p.Name)
	}
	if !versionForm.MatchString(p.Version) {
		return nil, nil, nil, fmt.Errorf("its version %q must be a semantic version such as 1.2.3", p.Version)
	}
	out := &pluginv1.DescribeResponse{
		Name:         p.Name,
		Version:      p.Version,
		Homepage:     p.Homepage,
		Capabilities: []string{DetectPulse},
		Permissions: &pluginv1.Permissions{
			Read:    p.Permissions.Read,
			Write:   p.Permissions.Write,
			Network: p.Permissions.Network,
		},
	}
	var connection *body
	if p.Connection != nil {
		var err error
		if connection, err = ownBody(p.Connection()); err != nil {
			return nil, nil, nil, fmt.Errorf("connection: %w", err)
		}
		out.Connection = connection.toProto()
	}
	if len(p.Connectors) == 0 {
		return nil, nil, nil, errors.New("it offers no connector")
	}
	connectors := make([]connector, 0, len(p.Connectors))
	seen := map[string]bool{}
	for _, declared := range p.Connectors {
		c, err := describeConnector(p.Name, declared, connection != nil)
		label := declared.label()
		if err == nil && seen[label] {
			err = errors.New("there are two of this name")
		}
		if err != nil {
			return nil, nil, nil, fmt.Errorf("%s: %w", label, err)
		}
		seen[label] = true
		connectors = append(connectors, c)
		out.Connectors = append(out.Connectors, c.toProto())
	}
	return out, connectors, connection, checkPermissions(p.Permissions, out)
}

// checkPermissions makes sure that the names in braces are attributes.
func checkPermissions(p Permissions, described *pluginv1.DescribeResponse) error {
	attributes := described.GetConnection().GetAttributes()
	for _, c := range described.GetConnectors() {
		attributes = append(attributes[:len(attributes):len(attributes)], c.GetSchema().GetAttributes()...)
	}
	for _, permission := range slices.Concat(p.Read, p.Write, p.Network) {
		for _, braces := range bracesForm.FindAllStringSubmatch(permission, -1) {
			if !slices.ContainsFunc(attributes, func(a *pluginv1.Attribute) bool { return a.GetName() == braces[1] }) {
				return fmt.Errorf("permission %q names an attribute that none of its blocks has", permission)
			}
		}
	}
	return nil
}

func describeConnector(plugin string, declared Connector, connection bool) (connector, error) {
	c := connector{Connector: declared}
	if c.Name != "" && !nameForm.MatchString(c.Name) {
		return c, fmt.Errorf("its name %q must be lower-case letters, digits and _", c.Name)
	}
	if c.New == nil {
		return c, errors.New("it has no New")
	}
	sample := c.New()
	if sample == nil {
		return c, errors.New("its New returns nil")
	}
	if _, ok := sample.(Connected); ok && !connection {
		return c, errors.New("it wants a connection, and the plugin has none")
	}
	var err error
	if c.body, err = ownBody(sample.Config()); err != nil {
		return c, err
	}
	switch c.Kind {
	case KindDetector:
		err = c.describeDetector(sample)
	case KindEnrichment:
		err = c.describeEnrichment(sample)
	case KindAction:
		err = c.describeAction(plugin, sample)
	default:
		err = errors.New("its Kind must be KindDetector, KindEnrichment or KindAction")
	}
	return c, err
}

func (c *connector) describeDetector(sample Instance) error {
	_, pushes := sample.(Detector)
	_, fetches := sample.(Fetcher)
	if pushes == fetches {
		return fmt.Errorf("%T must implement one of Detector and Fetcher", sample)
	}
	return nil
}

func (c *connector) describeEnrichment(sample Instance) error {
	if _, ok := sample.(Enricher); !ok {
		return fmt.Errorf("%T does not implement Enricher", sample)
	}
	for _, kind := range c.Takes {
		if !slices.Contains(Kinds(), kind) {
			return fmt.Errorf("it takes %q, which is no kind of observable", kind)
		}
	}
	if c.BatchLimit < 0 || c.DefaultTTL < 0 {
		return errors.New("BatchLimit and DefaultTTL cannot be negative")
	}
	return nil
}

func (c *connector) describeAction(plugin string, sample Instance) error {
	if _, ok := sample.(Actor); !ok {
		return fmt.Errorf("%T does not implement Actor", sample)
	}
	_, undoes := sample.(Undoer)
	_, checks := sample.(Checker)
	_, c.answers = sample.(Answerer)
	if len(c.Verbs) == 0 {
		return errors.New("it has no verbs")
	}
	var undo, check bool
	for _, declared := range c.Verbs {
		v := verb{Verb: declared}
		undo, check = undo || v.Undo, check || v.Check
		var err error
		switch {
		case !slices.Contains(Verbs(), v.Name) && !ownVerb(plugin, v.Name):
			err = fmt.Errorf("the contract has no such verb; one of your own is named %q and more", plugin+".")
		case slices.ContainsFunc(c.verbs, func(other verb) bool { return other.Name == v.Name }):
			err = errors.New("there are two of this name")
		case v.Undo && !undoes:
			err = fmt.Errorf("it says Undo, but %T does not implement Undoer", sample)
		case v.Check && !checks:
			err = fmt.Errorf("it says Check, but %T does not implement Checker", sample)
		case v.Settle < 0 || v.Settle > 24*time.Hour:
			err = errors.New("its Settle must be between 0 and a day")
		case v.Parameters == nil:
			v.body = &body{}
		default:
			v.body, err = bodyOf(v.Parameters())
		}
		if err != nil {
			return fmt.Errorf("verb %q: %w", v.Name, err)
		}
		c.verbs = append(c.verbs, v)
	}
	if undoes && !undo {
		return fmt.Errorf("%T implements Undoer, but no verb says Undo", sample)
	}
	if checks && !check {
		return fmt.Errorf("%T implements Checker, but no verb says Check", sample)
	}
	return nil
}

// ownVerb reports whether a verb is the plugin's own, as "acme.reboot".
func ownVerb(plugin, name string) bool {
	own, found := strings.CutPrefix(name, plugin+".")
	return found && nameForm.MatchString(own)
}

// ownBody is the body of a struct that must leave the core its attributes.
func ownBody(config any) (*body, error) {
	b, err := bodyOf(config)
	if err != nil {
		return nil, err
	}
	for _, f := range b.fields {
		for _, name := range []string{f.name, f.renamedFrom} {
			if slices.Contains(coreAttributes(), name) {
				return nil, fmt.Errorf("%T has a field named %q, which is the core's own in every block; choose another name", config, name)
			}
		}
	}
	return b, nil
}

// verb finds a verb by its name.
func (c *connector) verb(name string) *verb {
	for i := range c.verbs {
		if c.verbs[i].Name == name {
			return &c.verbs[i]
		}
	}
	return nil
}

// label names a connector for people: its kind and, if it has one, its name.
func (c Connector) label() string {
	if c.Name == "" {
		return c.Kind.String()
	}
	return c.Kind.String() + " " + c.Name
}

// String is the kind's word in the configuration.
func (k Kind) String() string {
	switch k {
	case KindDetector:
		return "detector"
	case KindEnrichment:
		return "enrichment"
	case KindAction:
		return "action"
	}
	return fmt.Sprintf("connector of kind %d", int(k))
}
