package config

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// What became of a block or of something that a configuration reads.
const (
	Added   = "added"
	Changed = "changed"
	Removed = "removed"
	Moved   = "moved" // it has another name, and is what it was
)

// Difference is something that two configurations do not have alike. Comments and
// layout are none.
type Difference struct {
	// Kind is the block's, such as "rule", or "file" and "environment" of what the
	// configuration reads.
	Kind string `json:"kind"`
	// Address of the block, "rule.beacon"; of one without a name its kind. Of what is
	// read, its name.
	Address string `json:"address"`
	What    string `json:"what"`
	// From is the address that it had before, if it got another one.
	From string `json:"from,omitempty"`
}

// Differences tells what a configuration that comes after this one has differently, by
// kind and address.
func (c *Config) Differences(next *Config) []Difference {
	var all []Difference
	compare := func(kind, address string, was, is [sha256.Size]byte, had, has bool) {
		d := Difference{Kind: kind, Address: next.Shown(address)}
		if before := c.Shown(address); had && has && before != d.Address {
			d.From = before
		} else if !has {
			d.Address = before
		}
		switch {
		case !had:
			d.What = Added
		case !has:
			d.What = Removed
		case was != is:
			d.What = Changed
		case d.From != "":
			d.What = Moved
		default:
			return
		}
		all = append(all, d)
	}
	for part := range union(c.parts, next.parts) {
		was, had := c.parts[part]
		is, has := next.parts[part]
		compare(part.kind, part.address, was, is, had, has)
	}
	if len(all) > 1 { // where blocks come and go the order is another by that
		all = slices.DeleteFunc(all, func(d Difference) bool { return d.Kind == "order" })
	}
	slices.SortFunc(all, func(a, b Difference) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Address, b.Address))
	})
	return all
}

func union[K comparable, V any](a, b map[K]V) map[K]V {
	all := maps.Clone(a)
	if all == nil {
		all = map[K]V{}
	}
	maps.Copy(all, b)
	return all
}

// part names something that a configuration is made of.
type part struct{ kind, address string }

// parts are the blocks at the top, and what is read from outside, each by its digest.
// Several blocks of one name are one part.
func (p *parser) parts() map[part][sha256.Size]byte {
	texts := map[part][]byte{}
	files := p.src.Listing()
	for _, body := range p.bodies {
		for _, block := range body.Blocks {
			if block.Type == "moved" {
				continue // what was renamed is what it was
			}
			at, labels := part{block.Type, block.Type}, p.firstLabels(block)
			if n := len(labels); n > 0 {
				at.address += "." + labels[n-1]
			}
			text := texts[at]
			for _, label := range labels {
				text = append(append(text, label...), 0)
			}
			texts[at] = append(text, essence(files[block.TypeRange.Filename], hcl.RangeBetween(block.OpenBraceRange, block.CloseBraceRange))...)
		}
	}
	// The order tells which of several ignores counts, and in which order steps are taken.
	order := part{"order", "order of the blocks"}
	for _, body := range p.bodies {
		for _, block := range body.Blocks {
			if block.Type == "moved" {
				continue
			}
			texts[order] = append(append(texts[order], block.Type...), 0)
			for _, label := range p.firstLabels(block) {
				texts[order] = append(append(texts[order], label...), 0)
			}
		}
	}
	for _, plugin := range p.src.Plugins {
		text, err := json.Marshal(plugin)
		if err != nil {
			panic(err) // it was read as JSON
		}
		texts[part{"plugin", plugin.Name}] = text
	}
	for address, hash := range p.src.versions() {
		at := part{"table", address}
		texts[at] = append(append(texts[at], 0), hash...)
	}
	for name, text := range p.src.Texts {
		texts[part{"file", name}] = []byte(text.Problem + "\x00" + text.Text)
	}
	for name, value := range p.src.Env {
		text := []byte{0}
		if value != nil {
			text = []byte(*value)
		}
		texts[part{"environment", name}] = text
	}
	for name, value := range p.src.Variables {
		at := part{"variable", "variable." + name}
		texts[at] = append(append(texts[at], 0), value...)
	}
	digests := make(map[part][sha256.Size]byte, len(texts))
	for at, text := range texts {
		digests[at] = sha256.Sum256(text)
	}
	return digests
}

// firstLabels are those of a block, under the name that it had first.
func (p *parser) firstLabels(block *hclsyntax.Block) []string {
	labels := slices.Clone(block.Labels)
	if n := len(labels); n > 0 {
		if first := p.identities[block.Type+"."+labels[n-1]]; first != "" {
			labels[n-1] = strings.TrimPrefix(first, block.Type+".")
		}
	}
	return labels
}

// essence of a text is its tokens, without comments and line ends.
func essence(text string, at hcl.Range) []byte {
	tokens, _ := hclsyntax.LexConfig([]byte(text[at.Start.Byte:at.End.Byte]), at.Filename, hcl.InitialPos)
	var b bytes.Buffer
	for _, t := range tokens {
		if t.Type == hclsyntax.TokenComment || t.Type == hclsyntax.TokenNewline {
			continue
		}
		b.Write(t.Bytes)
		b.WriteByte(0)
	}
	return b.Bytes()
}
