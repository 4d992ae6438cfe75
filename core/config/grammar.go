package config

import (
	"github.com/kelpie-sec/kelpie/core/model"
)

// bodyType is what a block may hold.
type bodyType struct {
	attributes []attribute
	blocks     []blockType
	// free: anything, and nobody looks at it. For blocks that are not built yet.
	free bool
	// open: it may hold more, and nobody looks at that. For plugins whose schema is not here.
	open bool
}

// blockType is one kind of block.
type blockType struct {
	name string
	// labels that it takes, by what they are called in messages.
	labels []string
	doc    string
	body   bodyType
	// many: it may be there more than once.
	many     bool
	required bool
	// later: not built yet.
	later bool
}

// want is what an attribute holds, where that is not a value known when the
// configuration is read.
type want int

const (
	wantValue      want = iota // a value of the attribute's type
	wantExpression             // compiled by who reads the block
	wantReference              // the address of a block
	wantReferences             // a list of addresses
)

// attribute of a block.
type attribute struct {
	model.Attribute
	want  want
	later bool
}

func text(name, doc string) attribute     { return valueOf(name, "string", doc) }
func duration(name, doc string) attribute { return valueOf(name, "duration", doc) }
func integer(name, doc string) attribute  { return valueOf(name, "integer", doc) }
func number(name, doc string) attribute   { return valueOf(name, "number", doc) }
func boolean(name, doc string) attribute  { return valueOf(name, "bool", doc) }

func texts(name, doc string) attribute {
	a := valueOf(name, "list", doc)
	a.Type.Element = &model.Type{Kind: "string"}
	return a
}

func textMap(name, doc string) attribute {
	a := valueOf(name, "map", doc)
	a.Type.Element = &model.Type{Kind: "string"}
	return a
}

func expression(name, doc string) attribute {
	a := valueOf(name, "expression", doc)
	a.want = wantExpression
	return a
}

func reference(name, doc string) attribute {
	a := valueOf(name, "reference", doc)
	a.want = wantReference
	return a
}

func references(name, doc string) attribute {
	a := valueOf(name, "references", doc)
	a.want = wantReferences
	return a
}

func valueOf(name, kind, doc string) attribute {
	return attribute{Attribute: model.Attribute{Name: name, Type: model.Type{Kind: kind}, Doc: doc}}
}

func (a attribute) must() attribute { a.Required = true; return a }

// standard is the default, as JSON. It is for the reference: the code that reads the
// block has it as a constant.
func (a attribute) standard(json string) attribute { a.Default = []byte(json); return a }

func (a attribute) oneOf(words ...string) attribute { a.OneOf = words; return a }

func (a attribute) notYet() attribute { a.later = true; return a }

// bodyOf is the body that a plugin's schema describes.
func bodyOf(s model.Schema) bodyType {
	var b bodyType
	for _, a := range s.Attributes {
		b.attributes = append(b.attributes, attribute{Attribute: a})
	}
	for _, inner := range s.Blocks {
		t := blockType{name: inner.Name, doc: inner.Doc, body: bodyOf(inner.Schema), required: inner.Required}
		switch inner.Nesting {
		case "list":
			t.many = true
		case "map":
			t.many = true
			t.labels = []string{"name"}
		}
		b.blocks = append(b.blocks, t)
	}
	return b
}

func (b bodyType) attribute(name string) (attribute, bool) {
	for _, a := range b.attributes {
		if a.Name == name {
			return a, true
		}
	}
	for _, a := range b.attributes {
		if a.RenamedFrom != "" && a.RenamedFrom == name {
			return a, true
		}
	}
	return attribute{}, false
}

func (b bodyType) block(name string) (blockType, bool) {
	for _, t := range b.blocks {
		if t.name == name {
			return t, true
		}
	}
	return blockType{}, false
}

// names are all names that the body takes.
func (b bodyType) names() (attributes, blocks []string) {
	for _, a := range b.attributes {
		attributes = append(attributes, a.Name)
	}
	for _, t := range b.blocks {
		blocks = append(blocks, t.name)
	}
	return attributes, blocks
}
