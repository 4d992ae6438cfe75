package table

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/kelpie-sec/kelpie/sdk"
)

// index finds the numbers of rows by the keys of one kind.
type index struct {
	// first is the row of each key, or -(n+1) where rows[n] are several.
	exact     map[string]int32
	networks  map[netip.Prefix]int32
	wildcards map[string]int32 // by what follows the "*": ".example.org"
	several   [][]int32
	// lengths of networks that occur, longest first.
	lengths4, lengths6 []int
}

// index builds an index for each kind of key.
func (p *parser) index() error {
	t := p.table
	t.kinds = map[string]*index{}
	if p.options.Keys == nil {
		return nil
	}
	keys, err := p.options.Keys(t.Columns())
	if err != nil {
		return p.complaint(0, 0, "", "%v", err)
	}
	for _, key := range keys {
		if key.Kind != KindOfCell {
			t.kindIndex(key.Kind)
		}
		for number, row := range t.rows {
			for _, cell := range (Row{table: t, number: int32(number)}).List(key.Column) {
				if cell == "-" || strings.EqualFold(cell, "n/a") {
					continue
				}
				if reason := t.addKey(key.Kind, cell, int32(number)); reason != "" {
					return p.complaint(int(row.line), 0, key.Column, "%s", reason)
				}
			}
		}
	}
	for _, kind := range t.kinds {
		kind.sortLengths()
	}
	return nil
}

func (t *Table) kindIndex(kind string) *index {
	x := t.kinds[kind]
	if x == nil {
		x = &index{exact: map[string]int32{}, networks: map[netip.Prefix]int32{}, wildcards: map[string]int32{}}
		t.kinds[kind] = x
	}
	return x
}

// addKey returns why a cell can be no key, or "".
func (t *Table) addKey(kind, cell string, row int32) string {
	if kind == KindOfCell {
		var ok bool
		if kind, cell, ok = strings.Cut(cell, ":"); !ok || !slices.Contains(sdk.Kinds(), kind) {
			return quote(kind) + ` is not written kind:value, such as "ip:10.0.0.1"`
		}
	}
	return t.kindIndex(kind).add(kind, cell, row)
}

func (x *index) add(kind, cell string, row int32) string {
	if kind == "" {
		return put(x, x.exact, cell, row)
	}
	if kind == sdk.IP && strings.Contains(cell, "/") {
		prefix, err := netip.ParsePrefix(cell)
		if err != nil {
			return quote(cell) + " is not a network such as 10.0.0.0/8"
		}
		if addr := prefix.Addr(); addr.Is4In6() && prefix.Bits() >= 96 {
			prefix = netip.PrefixFrom(addr.Unmap(), prefix.Bits()-96)
		}
		if prefix != prefix.Masked() {
			return quote(cell) + " has bits after its length; write " + prefix.Masked().String()
		}
		return put(x, x.networks, prefix, row)
	}
	if suffix, ok := strings.CutPrefix(cell, "*"); ok {
		suffix, reason := wildcard(kind, suffix)
		if reason != "" {
			return quote(cell) + " " + reason
		}
		return put(x, x.wildcards, suffix, row)
	}
	observable, err := sdk.Canonical(kind, cell)
	if err != nil {
		return err.Error()
	}
	if kind == sdk.IP {
		addr := netip.MustParseAddr(observable.Value)
		return put(x, x.networks, netip.PrefixFrom(addr, addr.BitLen()), row)
	}
	return put(x, x.exact, observable.Value, row)
}

// wildcard makes what follows the "*" canonical.
func wildcard(kind, suffix string) (canonical, reason string) {
	mark, allowed := "", false
	switch kind {
	case sdk.Host, sdk.Domain:
		mark, allowed = ".", true
	case sdk.Email:
		mark, allowed = "@", true
	}
	switch {
	case !allowed:
		return "", "is a wildcard, which only keys that are hosts, domains and mail addresses may be"
	case !strings.HasPrefix(suffix, mark) || strings.Contains(suffix, "*"):
		return "", "is not a wildcard such as *" + mark + "example.org"
	}
	domain, err := sdk.Canonical(sdk.Domain, suffix[1:])
	if err != nil {
		return "", "is no wildcard: " + err.Error()
	}
	return mark + domain.Value, ""
}

func put[K comparable](x *index, keys map[K]int32, key K, row int32) string {
	first, taken := keys[key]
	switch {
	case !taken:
		keys[key] = row
	case first == row:
	case first >= 0:
		x.several = append(x.several, []int32{first, row})
		keys[key] = int32(-len(x.several))
	default:
		rows := &x.several[-first-1]
		if slices.Contains(*rows, row) {
			break
		}
		if len(*rows) == MaxRowsPerKey {
			return "the key is in more than 64 rows"
		}
		*rows = append(*rows, row)
	}
	return ""
}

func (x *index) sortLengths() {
	seen4, seen6 := [33]bool{}, [129]bool{}
	for prefix := range x.networks {
		if prefix.Addr().Is4() {
			seen4[prefix.Bits()] = true
		} else {
			seen6[prefix.Bits()] = true
		}
	}
	for bits := 32; bits >= 0; bits-- {
		if seen4[bits] {
			x.lengths4 = append(x.lengths4, bits)
		}
	}
	for bits := 128; bits >= 0; bits-- {
		if seen6[bits] {
			x.lengths6 = append(x.lengths6, bits)
		}
	}
	for i := range x.several { // a row may have been added by a later column
		slices.Sort(x.several[i])
	}
}

func (x *index) find(value string) (key string, rows []int32, exact bool) {
	if first, ok := x.exact[value]; ok {
		return value, x.numbers(first), true
	}
	if len(x.networks) > 0 {
		if addr, err := netip.ParseAddr(value); err == nil {
			return x.findNetwork(addr)
		}
	}
	if len(x.wildcards) > 0 {
		for i := range len(value) {
			if value[i] != '.' && value[i] != '@' || i == 0 {
				continue
			}
			if first, ok := x.wildcards[value[i:]]; ok {
				return "*" + value[i:], x.numbers(first), false
			}
		}
	}
	return "", nil, false
}

func (x *index) findNetwork(addr netip.Addr) (key string, rows []int32, exact bool) {
	lengths := x.lengths6
	if addr = addr.Unmap(); addr.Is4() {
		lengths = x.lengths4
	}
	for _, bits := range lengths {
		prefix, err := addr.Prefix(bits)
		if err != nil {
			continue
		}
		if first, ok := x.networks[prefix]; ok {
			if bits == addr.BitLen() {
				return addr.String(), x.numbers(first), true
			}
			return prefix.String(), x.numbers(first), false
		}
	}
	return "", nil, false
}

func (x *index) numbers(first int32) []int32 {
	if first >= 0 {
		return []int32{first}
	}
	return x.several[-first-1]
}

func quote(s string) string {
	if len(s) > 64 {
		s = s[:64] + "…"
	}
	return `"` + strings.ToValidUTF8(s, "�") + `"`
}
