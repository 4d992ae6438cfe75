package sdk

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/sdk/pluginv1"
)

// Path is a file or folder of this machine, or a pattern of them. In a config struct
// it arrives absolute: the core resolves what is relative from the folder of the
// configuration.
type Path string

// Schema derives the schema of a block from a config struct, given by a pointer. It is
// the walk by which Decode fills the same struct, so the two cannot differ.
//
// Fields with a kelpie tag are attributes and blocks; others are left alone, and an
// embedded struct without a tag lends its fields.
//
//	Path   string                   `kelpie:"path,required" doc:"Where to read." example:"/var/log/eve.json"`
//	Format string                   `kelpie:"format" default:"json" oneof:"json,text"`
//	Token  string                   `kelpie:"token,secret"`
//	Every  time.Duration            `kelpie:"every" default:"10s"`
//	Size   *int                     `kelpie:"size" renamed_from:"length" deprecated:"it is ignored"`
//	TLS    *TLS                     `kelpie:"tls"`    // a block, at most one
//	Fields []Field                  `kelpie:"field"`  // blocks in order
//	Routes map[string]Route         `kelpie:"route"`  // blocks with a label each
//
// The tag kelpie holds the name and then any of required and secret. The others are
//
//	doc          for people
//	default      the value of an absent attribute: text as it is, everything else JSON
//	example      likewise, for the docs
//	oneof        the only texts taken, separated by commas
//	deprecated   a warning where the attribute is used
//	renamed_from an older name that is still taken, with a warning
//
// An attribute's type is one of string, Path, bool, any int, uint and float, time.Duration
// ("10s", "24h", "7d"), any, and lists, maps by string and pointers of these; a pointer
// stays nil where the operator wrote nothing. A struct is a block, as are a pointer
// to one, a list and a map of them; the defaults in a plain struct hold even where its
// block is absent. Whatever an absent attribute held before is cleared: a default
// that the schema does not show does not exist.
func Schema(config any) (*pluginv1.Schema, error) {
	b, err := bodyOf(config)
	if err != nil {
		return nil, err
	}
	return b.toProto(), nil
}

// body is what a block may hold.
type body struct {
	fields []field
}

// field is one attribute or block of a body.
type field struct {
	name        string
	index       []int
	doc         string
	deprecated  string
	renamedFrom string
	required    bool

	// Of attributes.
	typ      *valueType
	secret   bool
	oneOf    []string
	fallback any // the default, as decoded JSON; nil: none
	example  any

	// Of blocks.
	block   *body
	nesting nesting
}

type nesting int

const (
	single nesting = iota + 1
	list
	labelled
)

// valueType is the type of an attribute.
type valueType struct {
	kind    valueKind
	element *valueType
}

type valueKind int

const (
	stringKind valueKind = iota + 1
	integerKind
	numberKind
	boolKind
	durationKind
	listKind
	mapKind
	anyKind
	pathKind
)

var (
	nameForm     = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)
	durationType = reflect.TypeFor[time.Duration]()
	pathType     = reflect.TypeFor[Path]()
)

// coreAttributes are the core's own in every connector's block.
func coreAttributes() []string {
	return []string{
		"enabled", "connection", "takes", "internal", "ttl", "patience", "limit",
		"timeout", "isolation", "env", "health", "shadow", "on_failure",
	}
}

// bodyOf reads a config struct's tags; config is a pointer to it, or nil for none.
func bodyOf(config any) (*body, error) {
	if config == nil {
		return &body{}, nil
	}
	t := reflect.TypeOf(config)
	if t.Kind() != reflect.Pointer || t.Elem().Kind() != reflect.Struct {
		return nil, fmt.Errorf("the configuration must be a pointer to a struct, not %s", t)
	}
	return bodyOfStruct(t.Elem(), nil)
}

// bodyOfStruct reads a struct; within are the structs around it.
func bodyOfStruct(t reflect.Type, within []reflect.Type) (*body, error) {
	if slices.Contains(within, t) {
		return nil, fmt.Errorf("%s holds itself; a schema has an end", t)
	}
	b := &body{}
	if err := b.addFields(t, nil, append(within[:len(within):len(within)], t)); err != nil {
		return nil, err
	}
	taken := map[string]bool{}
	for _, f := range b.fields {
		for _, name := range []string{f.name, f.renamedFrom} {
			if name == "" {
				continue
			}
			if taken[name] {
				return nil, fmt.Errorf("%s has two fields named %q", t, name)
			}
			taken[name] = true
		}
	}
	return b, nil
}

func (b *body) addFields(t reflect.Type, index []int, within []reflect.Type) error {
	for i := range t.NumField() {
		sf := t.Field(i)
		at := append(index[:len(index):len(index)], i)
		tag, tagged := sf.Tag.Lookup("kelpie")
		switch {
		case !tagged && sf.Anonymous && sf.Type.Kind() == reflect.Struct:
			if err := b.addFields(sf.Type, at, within); err != nil {
				return err
			}
			continue
		case !tagged || tag == "-":
			continue
		case !sf.IsExported():
			return fmt.Errorf("%s.%s has a kelpie tag but cannot be set: export it", t, sf.Name)
		}
		f, err := fieldOf(sf, tag, within)
		if err != nil {
			return fmt.Errorf("%s.%s: %w", t, sf.Name, err)
		}
		f.index = at
		b.fields = append(b.fields, f)
	}
	return nil
}

func fieldOf(sf reflect.StructField, tag string, within []reflect.Type) (field, error) {
	parts := strings.Split(tag, ",")
	f := field{
		name:        parts[0],
		doc:         sf.Tag.Get("doc"),
		deprecated:  sf.Tag.Get("deprecated"),
		renamedFrom: sf.Tag.Get("renamed_from"),
	}
	for _, name := range []string{f.name, f.renamedFrom} {
		if !nameForm.MatchString(name) && (name != "" || name == f.name) {
			return f, fmt.Errorf("%q is no name: lower-case letters, digits and _", name)
		}
	}
	for _, option := range parts[1:] {
		switch option {
		case "required":
			f.required = true
		case "secret":
			f.secret = true
		default:
			return f, fmt.Errorf("the kelpie tag knows required and secret, not %q", option)
		}
	}
	var err error
	if f.block, f.nesting, err = blockOf(sf.Type, within); err != nil || f.block != nil {
		return f, errors.Join(err, f.checkBlock(sf.Tag))
	}
	if f.typ, err = typeOf(sf.Type); err != nil {
		return f, err
	}
	return f, f.readValues(sf.Tag)
}

// blockOf returns nil for a type that is an attribute's.
func blockOf(t reflect.Type, within []reflect.Type) (*body, nesting, error) {
	how := single
	switch t.Kind() {
	case reflect.Slice:
		how, t = list, t.Elem()
	case reflect.Map:
		if t.Key().Kind() != reflect.String {
			return nil, 0, nil
		}
		how, t = labelled, t.Elem()
	}
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return nil, 0, nil
	}
	b, err := bodyOfStruct(t, within)
	if err == nil && len(b.fields) == 0 {
		err = fmt.Errorf("%s is a block without a kelpie tag in it", t)
	}
	return b, how, err
}

func (f *field) checkBlock(tag reflect.StructTag) error {
	if f.secret {
		return errors.New("a block cannot be secret; its attributes can")
	}
	for _, key := range []string{"default", "example", "oneof", "deprecated", "renamed_from"} {
		if _, used := tag.Lookup(key); used {
			return fmt.Errorf("a block takes no %s", key)
		}
	}
	return nil
}

// readValues reads the tags that only attributes have.
func (f *field) readValues(tag reflect.StructTag) error {
	innermost := f.typ
	for innermost.element != nil {
		innermost = innermost.element
	}
	if f.secret && innermost.kind != stringKind {
		return errors.New("only text can be secret")
	}
	if texts, ok := tag.Lookup("oneof"); ok {
		if innermost.kind != stringKind {
			return errors.New("oneof is for text")
		}
		f.oneOf = strings.Split(texts, ",")
	}
	if text, ok := tag.Lookup("default"); ok {
		if f.required || f.secret {
			return errors.New("what is required or secret has no default")
		}
		value, err := f.parseTag(text)
		if err != nil {
			return fmt.Errorf("default: %w", err)
		}
		f.fallback = value
	}
	if text, ok := tag.Lookup("example"); ok {
		value, err := f.parseTag(text)
		if err != nil {
			return fmt.Errorf("example: %w", err)
		}
		f.example = value
	}
	return nil
}

// parseTag reads a value in a tag and makes sure that the attribute takes it.
func (f *field) parseTag(text string) (any, error) {
	var value any = text
	if f.typ.kind != stringKind && f.typ.kind != pathKind && f.typ.kind != durationKind {
		var err error
		if value, err = parseJSON([]byte(text)); err != nil {
			return nil, err
		}
		if value == nil {
			return nil, errors.New("null is no value")
		}
	}
	return value, f.check(value)
}

func typeOf(t reflect.Type) (*valueType, error) {
	switch t {
	case durationType:
		return &valueType{kind: durationKind}, nil
	case pathType:
		return &valueType{kind: pathKind}, nil
	}
	switch t.Kind() {
	case reflect.String:
		return &valueType{kind: stringKind}, nil
	case reflect.Bool:
		return &valueType{kind: boolKind}, nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return &valueType{kind: integerKind}, nil
	case reflect.Float32, reflect.Float64:
		return &valueType{kind: numberKind}, nil
	case reflect.Interface:
		if t.NumMethod() == 0 {
			return &valueType{kind: anyKind}, nil
		}
	case reflect.Pointer:
		if t.Elem().Kind() != reflect.Pointer {
			return typeOf(t.Elem())
		}
	case reflect.Slice:
		element, err := typeOf(t.Elem())
		return &valueType{kind: listKind, element: element}, err
	case reflect.Map:
		if t.Key().Kind() == reflect.String {
			element, err := typeOf(t.Elem())
			return &valueType{kind: mapKind, element: element}, err
		}
	}
	return nil, fmt.Errorf("an attribute cannot be a %s", t)
}
