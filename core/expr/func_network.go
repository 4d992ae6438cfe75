package expr

import (
	"fmt"
	"net/netip"
	"net/url"
	"strings"

	"golang.org/x/net/idna"
)

func networkFunctions() []Function {
	return []Function{
		{
			Name: "cidr_contains", Group: "network", result: BoolKind,
			Doc:    "Whether the address is in the network, or in one of a list of them. An IPv4 address written as IPv6 (::ffff:10.0.0.1) is the IPv4 address. Null if one of them is none.",
			params: []param{{name: "network", kinds: stringKind | listKind}, text("address")},
			call: func(s *Scope, a []Value) Value {
				items := []Value{a[0]}
				if a[0].kind == ListKind {
					var ok bool
					if items, ok = s.items(a[0]); !ok {
						return Value{}
					}
				}
				networks, err := parseNetworks(items)
				if err != nil {
					return Value{}
				}
				return within(networks, a[1].str)
			},
			prepare: func(known []*Value) (callFunc, int, error) {
				if known[1] != nil {
					if _, ok := parseAddress(known[1].str); !ok {
						return nil, 1, fmt.Errorf("%q is no address", known[1].str)
					}
				}
				if known[0] == nil {
					return nil, 0, nil
				}
				networks, err := parseNetworks(listOrOne(*known[0]))
				return func(_ *Scope, a []Value) Value { return within(networks, a[1].str) }, 0, err
			},
			Examples: []Example{
				{`cidr_contains("10.9.0.0/24", "10.9.0.7")`, `true`},
				{`cidr_contains(["10.0.0.0/8", "fd00::/8"], "::ffff:10.1.2.3")`, `true`},
			},
		},
		{
			Name: "is_private_ip", Group: "network", result: BoolKind,
			Doc:    "Whether the address is one that the internet does not route: RFC 1918, RFC 6598 (100.64.0.0/10), RFC 4193 (fc00::/7), loopback, link-local or unspecified. Null if it is no address.",
			params: []param{text("address")},
			call: func(_ *Scope, a []Value) Value {
				address, ok := parseAddress(a[0].str)
				if !ok {
					return Value{}
				}
				return Bool(address.IsPrivate() || address.IsLoopback() || address.IsLinkLocalUnicast() ||
					address.IsUnspecified() || sharedSpace.Contains(address))
			},
			Examples: []Example{{`is_private_ip("192.168.3.4")`, `true`}, {`is_private_ip("2001:4860::1")`, `false`}, {`is_private_ip("host")`, `null`}},
		},
		{
			Name: "domain_of", Group: "network", result: StringKind,
			Doc:    "The host name in a URL, a mail address or a host with a port, in small letters and ASCII. Null if there is none, or an address instead.",
			params: []param{text("text")},
			call: func(_ *Scope, a []Value) Value {
				name, ok := domainOf(a[0].str)
				if !ok {
					return Value{}
				}
				return String(name)
			},
			Examples: []Example{
				{`domain_of("https://WWW.Example.org:8443/login?x=1")`, `"www.example.org"`},
				{`domain_of("Kim <kim@example.org>")`, `"example.org"`},
				{`domain_of("http://10.1.2.3/")`, `null`},
			},
		},
	}
}

var sharedSpace = netip.MustParsePrefix("100.64.0.0/10")

// parseAddress reads an address without its zone; an IPv4 address in IPv6's clothes is taken out of them.
func parseAddress(s string) (netip.Addr, bool) {
	address, err := netip.ParseAddr(s)
	return address.WithZone("").Unmap(), err == nil
}

func parseNetwork(s string) (netip.Prefix, error) {
	if address, ok := parseAddress(s); ok {
		return netip.PrefixFrom(address, address.BitLen()), nil
	}
	network, err := netip.ParsePrefix(s)
	if err != nil {
		return network, fmt.Errorf("%q is no network such as 10.0.0.0/8", s)
	}
	if network.Addr().Is4In6() && network.Bits() >= 96 {
		network = netip.PrefixFrom(network.Addr().Unmap(), network.Bits()-96)
	}
	return network.Masked(), nil
}

func parseNetworks(items []Value) ([]netip.Prefix, error) {
	networks := make([]netip.Prefix, len(items))
	for i, item := range items {
		if item.kind != StringKind {
			return nil, fmt.Errorf("a network is a text such as 10.0.0.0/8")
		}
		var err error
		if networks[i], err = parseNetwork(item.str); err != nil {
			return nil, err
		}
	}
	return networks, nil
}

func listOrOne(v Value) []Value {
	if v.kind != ListKind {
		return []Value{v}
	}
	var items []Value
	for item := range v.Items() {
		items = append(items, item)
	}
	return items
}

func within(networks []netip.Prefix, text string) Value {
	address, ok := parseAddress(text)
	if !ok {
		return Value{}
	}
	for _, network := range networks {
		if network.Contains(address) {
			return Bool(true)
		}
	}
	return Bool(false)
}

func domainOf(s string) (string, bool) {
	s = strings.TrimSpace(s)
	if strings.Contains(s, "://") {
		u, err := url.Parse(s)
		if err != nil {
			return "", false
		}
		return domainName(u.Hostname())
	}
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		host, _, _ := strings.Cut(s[i+1:], ">")
		return domainName(host)
	}
	s, _, _ = strings.Cut(s, "/")
	if i := strings.LastIndexByte(s, ':'); i >= 0 && strings.Count(s, ":") == 1 {
		s = s[:i]
	}
	return domainName(s)
}

func domainName(host string) (string, bool) {
	host = strings.TrimSuffix(host, ".")
	if _, ok := parseAddress(strings.Trim(host, "[]")); ok || host == "" || len(host) > 1024 {
		return "", false
	}
	name, err := idna.Lookup.ToASCII(host)
	if err != nil {
		// A name that the standard refuses, with an underscore for example, is in use all the same.
		if !isASCII(host) || strings.ContainsAny(host, " /\\@<>[]:?#\"'%,;") {
			return "", false
		}
		name = host
	}
	return strings.ToLower(name), name != ""
}
