package eve

import "strconv"

// start appends what each event begins with.
func (g *Generator) start(line []byte, k Kind, f *flow) []byte {
	g.counts.Kinds[k]++
	line = append(line, `{"timestamp":"`...)
	line = append(line, g.clock.text[:]...)
	line = append(line, `","flow_id":`...)
	line = number64(line, f.id)
	line = append(line, `,"in_iface":"eth1","event_type":"`...)
	line = append(line, kindNames[k]...)
	line = append(line, '"')
	return append(line, f.text...)
}

// end closes the event and marks it as made up.
func end(line []byte) []byte {
	return append(line, `,"host":"generated"}`+"\n"...)
}

func (g *Generator) alert(line []byte, s *signature) []byte {
	f := g.pick(s.protocol)
	if s.with != insideOut {
		g.renew(f, s.protocol, s.with)
	}
	f.alerted = true

	line = g.start(line, Alert, f)
	line = append(line, `,"tx_id":0,"alert":{"action":"`...)
	if s.with == badInside && g.random.IntN(2) == 0 {
		line = append(line, "blocked"...)
	} else {
		line = append(line, "allowed"...)
	}
	line = append(line, s.text...)
	switch f.protocol {
	case overDNS:
		line = append(line, `,"dns":{"query":[{"type":"query","id":`...)
		line = number(line, g.random.IntN(1<<16))
		line = append(line, `,"rrname":"`...)
		line = append(line, f.service.domain...)
		line = append(line, `","rrtype":"A","tx_id":0,"opcode":0}]}`...)
	case overHTTP:
		line = g.request(line, f)
	case overTLS:
		line = g.certificate(line, f)
	}
	line = append(line, `,"app_proto":"`...)
	line = append(line, protocolNames[f.protocol]...)
	line = append(line, `","direction":"to_server","flow":{`...)
	line = f.totals(line)
	line = append(line, `,"src_ip":"`...)
	line = address(line, f.source.address)
	line = append(line, `","dest_ip":"`...)
	line = address(line, f.target.address)
	line = append(line, `","src_port":`...)
	line = number(line, int(f.source.port))
	line = append(line, `,"dest_port":`...)
	line = number(line, int(f.target.port))
	line = append(line, `}`...)
	return end(line)
}

// dns is a query, and the next time its answer.
func (g *Generator) dns(line []byte) []byte {
	f := g.pick(overDNS)
	line = g.start(line, DNS, f)
	f.answered = !f.answered
	if !f.answered {
		line = append(line, `,"dns":{"type":"query","id":`...)
		line = number64(line, f.id&0xffff)
		line = append(line, `,"rrname":"`...)
		line = append(line, f.service.domain...)
		line = append(line, `","rrtype":"A","tx_id":`...)
		line = number(line, 2*f.transactions)
		line = append(line, `,"opcode":0}`...)
		return end(line)
	}
	line = append(line, `,"dns":{"version":2,"type":"answer","id":`...)
	line = number64(line, f.id&0xffff)
	line = append(line, `,"flags":"8180","qr":true,"rd":true,"ra":true,"opcode":0,"rrname":"`...)
	line = append(line, f.service.domain...)
	line = append(line, `","rrtype":"A","rcode":"NOERROR","answers":[{"rrname":"`...)
	line = append(line, f.service.domain...)
	line = append(line, `","rrtype":"A","ttl":300,"rdata":"`...)
	answer := outsider(false, goodNetworks, int(f.id&0xffff))
	line = answer.AppendTo(line)
	line = append(line, `"}],"grouped":{"A":["`...)
	line = answer.AppendTo(line)
	line = append(line, `"]}}`...)
	f.transactions++
	return end(line)
}

func (g *Generator) http(line []byte) []byte {
	f := g.pick(overHTTP)
	line = g.start(line, HTTP, f)
	line = append(line, `,"tx_id":`...)
	line = number(line, f.transactions)
	line = g.request(line, f)
	f.transactions++
	return end(line)
}

func (g *Generator) tls(line []byte) []byte {
	f := g.pick(overTLS)
	line = g.start(line, TLS, f)
	line = g.certificate(line, f)
	return end(line)
}

func (g *Generator) fileinfo(line []byte) []byte {
	f := g.pick(overHTTP)
	line = g.start(line, FileInfo, f)
	line = g.request(line, f)
	line = append(line, `,"app_proto":"http","fileinfo":{"filename":"`...)
	line = append(line, f.path()...)
	line = append(line, `","gaps":false,"state":"CLOSED","md5":"`...)
	line = g.hex(line, 2)
	line = append(line, `","sha256":"`...)
	line = g.hex(line, 4)
	line = append(line, `","stored":false,"size":`...)
	line = number(line, 200+g.random.IntN(1<<20))
	line = append(line, `,"tx_id":`...)
	line = number(line, f.transactions)
	line = append(line, '}')
	f.transactions++
	return end(line)
}

// flow reports the end of a flow, and a new one takes its place.
func (g *Generator) flow(line []byte) []byte {
	f := &g.flows[g.random.IntN(int(protocols))][g.random.IntN(ring)]
	line = g.start(line, Flow, f)
	line = append(line, `,"app_proto":"`...)
	line = append(line, protocolNames[f.protocol]...)
	line = append(line, `","flow":{`...)
	line = f.totals(line)
	line = append(line, `,"end":"`...)
	line = append(line, g.clock.text[:]...)
	line = append(line, `","age":`...)
	line = number(line, max(0, int(g.clock.at.Sub(f.start).Seconds())))
	line = append(line, `,"state":"`...)
	if f.protocol == overDNS {
		line = append(line, `established","reason":"timeout","alerted":`...)
	} else {
		line = append(line, `closed","reason":"timeout","alerted":`...)
	}
	line = strconv.AppendBool(line, f.alerted)
	line = append(line, '}')
	if f.protocol != overDNS {
		line = append(line, `,"tcp":{"tcp_flags":"1b","tcp_flags_ts":"1b","tcp_flags_tc":"1b","syn":true,"fin":true,"psh":true,"ack":true,"state":"closed"}`...)
	}
	g.renew(f, f.protocol, insideOut)
	return end(line)
}

// request appends the http object.
func (g *Generator) request(line []byte, f *flow) []byte {
	line = append(line, `,"http":{"hostname":"`...)
	line = append(line, f.service.domain...)
	line = append(line, `","url":"`...)
	line = append(line, f.path()...)
	line = append(line, `","http_user_agent":"`...)
	line = append(line, f.service.agent...)
	line = append(line, `","http_content_type":"text/html","http_method":"GET","protocol":"HTTP/1.1","status":200,"length":`...)
	line = number(line, 100+g.random.IntN(50000))
	return append(line, '}')
}

// certificate appends the tls object.
func (g *Generator) certificate(line []byte, f *flow) []byte {
	line = append(line, `,"tls":{"subject":"CN=`...)
	line = append(line, f.service.domain...)
	line = append(line, `","issuerdn":"`...)
	line = append(line, f.service.issuer...)
	line = append(line, `","serial":"`...)
	line = g.octets(line, 8)
	line = append(line, `","fingerprint":"`...)
	line = g.octets(line, 20)
	line = append(line, `","sni":"`...)
	line = append(line, f.service.domain...)
	line = append(line, `","version":"TLS 1.2","notbefore":"2025-06-01T00:00:00","notafter":"2026-06-30T23:59:59","ja3":{"hash":"`...)
	line = g.hex(line, 2)
	return append(line, `","string":"771,4865-4866-4867-49195-49199,0-23-65281-10-11-35-16-5-13-18-51-45-43-27,29-23-24,0"}}`...)
}

// totals appends the counters of a flow and its start.
func (f *flow) totals(line []byte) []byte {
	line = append(line, `"pkts_toserver":`...)
	line = number(line, f.packets[0])
	line = append(line, `,"pkts_toclient":`...)
	line = number(line, f.packets[1])
	line = append(line, `,"bytes_toserver":`...)
	line = number(line, f.bytes[0])
	line = append(line, `,"bytes_toclient":`...)
	line = number(line, f.bytes[1])
	line = append(line, `,"start":"`...)
	line = append(line, f.started[:]...)
	return append(line, '"')
}

func (f *flow) path() string { return f.service.paths[f.transactions%len(f.service.paths)] }

func number(line []byte, n int) []byte { return strconv.AppendInt(line, int64(n), 10) }

func number64(line []byte, n uint64) []byte { return strconv.AppendUint(line, n, 10) }

const digits = "0123456789abcdef"

// octets appends random octets as Suricata writes certificates' numbers: 0a:1b:2c.
func (g *Generator) octets(line []byte, n int) []byte {
	var bits uint64
	for i := range n {
		if i%8 == 0 {
			bits = g.random.Uint64()
		}
		line = append(line, digits[bits>>4&15], digits[bits&15], ':')
		bits >>= 8
	}
	return line[:len(line)-1]
}

// hex appends words of 16 random hexadecimal digits.
func (g *Generator) hex(line []byte, words int) []byte {
	for range words {
		bits := g.random.Uint64()
		for range 16 {
			line = append(line, digits[bits&15])
			bits >>= 4
		}
	}
	return line
}
