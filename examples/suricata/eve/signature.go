package eve

import (
	"fmt"
	"math/rand/v2"
	"strconv"
)

// direction is who opened the flow that a rule is about.
type direction uint8

const (
	insideOut direction = iota // a host of ours, to somewhere ordinary
	insideBad                  // a host of ours, to somewhere bad
	badInside                  // somebody bad, to a server of ours
)

// class is a kind of rule: what its signatures have in common.
type class struct {
	title     string // with one %s
	category  string
	severity  int
	protocol  protocol
	with      direction
	target    string
	rating    string
	tactic    [2]string // id, name
	technique [2]string // id, name
}

var interestingClasses = []class{
	{
		"LOCAL MALWARE %s CnC Checkin", "Malware Command and Control Activity Detected", 1, overHTTP, insideBad, "Client_Endpoint", "Major",
		[2]string{"TA0011", "Command_And_Control"},
		[2]string{"T1071", "Application_Layer_Protocol"},
	},
	{
		"LOCAL MALWARE Observed DNS Query to %s Domain", "Domain Observed Used for C2 Detected", 1, overDNS, insideBad, "Client_Endpoint", "Major",
		[2]string{"TA0011", "Command_And_Control"},
		[2]string{"T1568", "Dynamic_Resolution"},
	},
	{
		"LOCAL MALWARE Observed Malicious SSL Cert (%s)", "A Network Trojan was detected", 1, overTLS, insideBad, "Client_Endpoint", "Critical",
		[2]string{"TA0042", "Resource_Development"},
		[2]string{"T1587", "Develop_Capabilities"},
	},
	{
		"LOCAL MALWARE %s Payload Download", "A Network Trojan was detected", 1, overHTTP, insideBad, "Client_Endpoint", "Critical",
		[2]string{"TA0011", "Command_And_Control"},
		[2]string{"T1105", "Ingress_Tool_Transfer"},
	},
	{
		"LOCAL EXPLOIT %s Remote Code Execution Attempt", "Attempted Administrator Privilege Gain", 1, overHTTP, badInside, "Server", "Major",
		[2]string{"TA0001", "Initial_Access"},
		[2]string{"T1190", "Exploit_Public_Facing_Application"},
	},
}

var ordinaryClasses = []class{
	{
		"LOCAL SCAN %s Scanner User-Agent", "Attempted Information Leak", 2, overHTTP, badInside, "Web_Server", "Informational",
		[2]string{"TA0043", "Reconnaissance"},
		[2]string{"T1595", "Active_Scanning"},
	},
	{
		"LOCAL WEB_SERVER Access to %s Configuration File", "Misc Attack", 2, overHTTP, badInside, "Web_Server", "Minor",
		[2]string{"TA0043", "Reconnaissance"},
		[2]string{"T1592", "Gather_Victim_Host_Information"},
	},
	{
		"LOCAL HUNTING %s Certificate with Short Lifetime", "Potentially Bad Traffic", 2, overTLS, insideOut, "Client_Endpoint", "Minor",
		[2]string{"TA0011", "Command_And_Control"},
		[2]string{"T1573", "Encrypted_Channel"},
	},
	{
		"LOCAL INFO Observed DNS Query to %s Service", "Misc activity", 3, overDNS, insideOut, "Client_Endpoint", "Informational",
		[2]string{"TA0011", "Command_And_Control"},
		[2]string{"T1102", "Web_Service"},
	},
	{
		"LOCAL POLICY %s Client in Use", "Not Suspicious Traffic", 3, overHTTP, insideOut, "Client_Endpoint", "Informational",
		[2]string{"TA0011", "Command_And_Control"},
		[2]string{"T1219", "Remote_Access_Software"},
	},
}

// families are names that no product or malware is known under.
var families = []string{
	"Amberjack", "Brackenfall", "Cinderwick", "Duskfern", "Emberlark", "Fogbarrow", "Gristmoor", "Hollowpike",
	"Inkthistle", "Jasperknot", "Kestrelrot", "Lanternfly", "Mirewort", "Nettlecask", "Oxbowrat", "Palewick",
	"Quillmarsh", "Rustheron", "Saltgorse", "Tidewrack",
}

// signature is a rule, with the text of its alert object made once.
type signature struct {
	protocol protocol
	with     direction
	text     string // the alert object after the value of "action"
}

// signatures of interest come first.
type signatures struct {
	all   []signature
	first int // the first that is not of interest
}

func newSignatures(n int) signatures {
	s := signatures{all: make([]signature, n), first: max(1, n/10)}
	for i := range s.all {
		if i < s.first {
			s.all[i] = newSignature(i, i, interestingClasses)
		} else {
			s.all[i] = newSignature(i, i-s.first, ordinaryClasses)
		}
	}
	return s
}

// newSignature makes the n-th of its classes; nth over all decides its identifier.
func newSignature(nth, n int, classes []class) signature {
	c := classes[n%len(classes)]
	family := families[n/len(classes)%len(families)]
	if variant := n / len(classes) / len(families); variant > 0 {
		family += " M" + strconv.Itoa(variant+1)
	}
	created := fmt.Sprintf("20%02d_%02d_%02d", 16+nth%10, 1+nth%12, 1+nth%28)
	return signature{
		protocol: c.protocol,
		with:     c.with,
		text: fmt.Sprintf(`","gid":1,"signature_id":%d,"rev":%d,"signature":"%s","category":"%s","severity":%d,`+
			`"metadata":{"affected_product":["Any"],"attack_target":["%s"],"confidence":["%s"],"created_at":["%s"],"deployment":["Perimeter"],`+
			`"mitre_tactic_id":["%s"],"mitre_tactic_name":["%s"],"mitre_technique_id":["%s"],"mitre_technique_name":["%s"],`+
			`"signature_severity":["%s"],"updated_at":["2025_%02d_%02d"]}}`,
			1000001+nth, 1+nth%7, fmt.Sprintf(c.title, family), c.category, c.severity,
			c.target, [...]string{"High", "Medium", "Low"}[c.severity-1], created,
			c.tactic[0], c.tactic[1], c.technique[0], c.technique[1], c.rating, 1+nth%12, 1+nth%28),
	}
}

func (s *signatures) interesting(random *rand.Rand) *signature {
	return &s.all[random.IntN(s.first)]
}

// ordinary prefers a few: on a real network some rules make most of the noise.
func (s *signatures) ordinary(random *rand.Rand) *signature {
	return &s.all[s.first+random.IntN(1+random.IntN(len(s.all)-s.first))]
}
