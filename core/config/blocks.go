package config

import "github.com/kelpie-sec/kelpie/core/model"

// BlockType is a kind of block as the reference tells of it.
type BlockType struct {
	Name     string
	Labels   []string // what its labels are
	Doc      string
	Required bool
	Many     bool // it may be there more than once
	Free     bool // it takes any attribute
	Later    bool // known, and not built yet

	Attributes []AttributeType
	Blocks     []BlockType
}

// AttributeType is an attribute of a block. Its type's kind is a schema's, or
// "expression", "reference" or "references".
type AttributeType struct {
	model.Attribute
	Later bool
}

// BlockTypes are all blocks that a configuration may hold. Of a connector's they have
// what the core itself takes; the rest is in its plugin's schema.
func BlockTypes() []BlockType {
	all := blockTypes(language().blocks)
	for i := range all {
		if isConnector(all[i].Name) {
			own := blockTypes([]blockType{connectorBlock(all[i].Name, all[i].Doc, &model.Schema{})})[0]
			all[i].Attributes, all[i].Blocks, all[i].Free = own.Attributes, own.Blocks, false
		}
	}
	return all
}

func blockTypes(types []blockType) []BlockType {
	var all []BlockType
	for _, t := range types {
		b := BlockType{
			Name: t.name, Labels: t.labels, Doc: t.doc,
			Required: t.required, Many: t.many, Free: t.body.free, Later: t.later,
			Blocks: blockTypes(t.body.blocks),
		}
		for _, a := range t.body.attributes {
			b.Attributes = append(b.Attributes, AttributeType{a.Attribute, a.later})
		}
		all = append(all, b)
	}
	return all
}
