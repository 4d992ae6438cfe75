package eve

import (
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"net/netip"
	"time"
)

// protocol is what a flow carries.
type protocol uint8

const (
	overDNS protocol = iota
	overHTTP
	overTLS
	protocols // how many there are
)

var protocolNames = [protocols]string{"dns", "http", "tls"}

// ring is how many flows of each protocol are open at once.
const ring = 256

// flow is one connection; its events share its id.
type flow struct {
	protocol       protocol
	id             uint64
	start          time.Time
	started        [timeLength]byte // start as text
	source, target endpoint
	text           []byte // its addresses as every event has them, from src_ip to community_id
	service        service
	transactions   int
	answered       bool // the last DNS query has been answered
	alerted        bool
	packets        [2]int // to server, to client
	bytes          [2]int
}

type endpoint struct {
	address netip.Addr
	port    uint16
}

// renew makes a new flow in the place of one that has ended.
func (g *Generator) renew(f *flow, p protocol, with direction) {
	host := g.host()
	six := host.Is6()
	*f = flow{
		protocol: p,
		// Suricata's are 53 bits at most, so that a reader with floating point numbers keeps them apart.
		id:       g.random.Uint64N(1 << 53),
		start:    g.clock.at,
		started:  g.clock.text,
		source:   endpoint{host, uint16(32768 + g.random.IntN(28232))},
		service:  services[g.random.IntN(len(services))],
		answered: true,
		packets:  [2]int{2 + g.random.IntN(30), 2 + g.random.IntN(60)},
		text:     f.text[:0],
	}
	switch {
	case with == badInside:
		f.source.address = outsider(six, badNetworks, g.random.IntN(1<<16))
		f.target = endpoint{server(six), 80}
		f.service.domain = "www.example.org"
	case p == overDNS:
		f.target = endpoint{resolver(six), 53}
	default:
		from := goodNetworks
		if with == insideBad {
			from = badNetworks
		}
		port := uint16(443)
		if p == overHTTP {
			port = 80
		}
		f.target = endpoint{outsider(six, from, g.random.IntN(1<<16)), port}
	}
	f.bytes = [2]int{f.packets[0] * (60 + g.random.IntN(200)), f.packets[1] * (60 + g.random.IntN(1300))}
	f.describe()
}

// pick takes an open flow, or opens one.
func (g *Generator) pick(p protocol) *flow {
	i := g.random.IntN(4 * ring)
	f := &g.flows[p][i%ring]
	if i < ring { // one in four: without this a log without flow events would never see a new flow
		g.renew(f, p, insideOut)
	}
	return f
}

// describe writes the text that all events of the flow have in common.
func (f *flow) describe() {
	transport, number := "TCP", byte(6)
	if f.protocol == overDNS {
		transport, number = "UDP", 17
	}
	t := append(f.text, `,"src_ip":"`...)
	t = address(t, f.source.address)
	t = append(t, `","src_port":`...)
	t = number64(t, uint64(f.source.port))
	t = append(t, `,"dest_ip":"`...)
	t = address(t, f.target.address)
	t = append(t, `","dest_port":`...)
	t = number64(t, uint64(f.target.port))
	t = append(t, `,"proto":"`...)
	t = append(t, transport...)
	t = append(t, `","pkt_src":"wire/pcap","community_id":"`...)
	t = communityID(t, f.source, f.target, number)
	f.text = append(t, '"')
}

// communityID appends the flow's Community ID, version 1 with seed 0 (github.com/corelight/community-id-spec): the
// lower endpoint first, so that both directions have the same.
func communityID(text []byte, a, b endpoint, transport byte) []byte {
	if order := a.address.Compare(b.address); order > 0 || order == 0 && a.port > b.port {
		a, b = b, a
	}
	var room [2 + 16 + 16 + 2 + 4]byte
	data := room[:2] // the seed
	data = appendAddress(data, a.address)
	data = appendAddress(data, b.address)
	data = append(data, transport, 0)
	data = binary.BigEndian.AppendUint16(data, a.port)
	data = binary.BigEndian.AppendUint16(data, b.port)
	sum := sha1.Sum(data)
	text = append(text, "1:"...)
	return base64.StdEncoding.AppendEncode(text, sum[:])
}

func appendAddress(data []byte, address netip.Addr) []byte {
	if address.Is4() {
		four := address.As4()
		return append(data, four[:]...)
	}
	sixteen := address.As16()
	return append(data, sixteen[:]...)
}

// address appends an address as Suricata writes it: IPv6 in full, with every zero.
func address(text []byte, a netip.Addr) []byte {
	if a.Is4() {
		return a.AppendTo(text)
	}
	for i, b := range a.As16() {
		if i > 0 && i%2 == 0 {
			text = append(text, ':')
		}
		text = append(text, digits[b>>4], digits[b&15])
	}
	return text
}

// host picks one of our hosts, low numbers more often.
func (g *Generator) host() netip.Addr {
	i := uint32(g.random.IntN(1 + g.random.IntN(g.options.Hosts)))
	if i%4 == 3 {
		address := netip.MustParseAddr("fd00:20::").As16()
		binary.BigEndian.PutUint32(address[12:], i+1)
		return netip.AddrFrom16(address)
	}
	var address [4]byte
	binary.BigEndian.PutUint32(address[:], 10<<24|20<<16+i+1)
	return netip.AddrFrom4(address)
}

// networks of outsiders: one of IPv4, of which the last 16 bits are free, and one of IPv6.
type networks struct{ four, six netip.Addr }

var (
	goodNetworks = networks{netip.MustParseAddr("198.18.0.0"), netip.MustParseAddr("2001:db8:100::")}
	badNetworks  = networks{netip.MustParseAddr("198.19.0.0"), netip.MustParseAddr("2001:db8:bad::")}
)

func outsider(six bool, from networks, n int) netip.Addr {
	if six {
		address := from.six.As16()
		binary.BigEndian.PutUint16(address[14:], uint16(n))
		return netip.AddrFrom16(address)
	}
	address := from.four.As4()
	binary.BigEndian.PutUint16(address[2:], uint16(n))
	return netip.AddrFrom4(address)
}

func server(six bool) netip.Addr {
	if six {
		return netip.MustParseAddr("2001:db8:20::10")
	}
	return netip.AddrFrom4([4]byte{203, 0, 113, 10})
}

func resolver(six bool) netip.Addr {
	if six {
		return netip.MustParseAddr("fd00:20::ffff:53")
	}
	return netip.AddrFrom4([4]byte{10, 20, 0, 53})
}
