package config

import (
	"bytes"

	"github.com/hashicorp/hcl/v2/hclwrite"
)

// Format lays out HCL as everybody does: blanks and indentation, nothing else. To
// format twice changes nothing. Text that is not HCL comes back as it is.
func Format(text []byte) []byte {
	if usable(text) != nil || tooDeep(text) {
		return text
	}
	if len(text) > 0 && text[len(text)-1] != '\n' {
		text = append(bytes.Clone(text), '\n')
	}
	for range 8 { // what one pass moves, the next may lay out
		next := hclwrite.Format(text)
		if bytes.Equal(next, text) {
			break
		}
		text = next
	}
	return text
}
