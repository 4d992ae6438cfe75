package eve

import (
	"encoding/json"
	"fmt"
)

// service is something out there that our hosts talk to, with its texts already escaped for JSON.
type service struct {
	domain string
	issuer string
	agent  string
	paths  [4]string
}

// services are the same in every log; only who talks to which, and when, depends on the seed.
var services = newServices()

func newServices() []service {
	agents := []string{
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
		"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Safari/605.1.15",
		"Microsoft-CryptoAPI/10.0",
		"Debian APT-HTTP/1.3 (2.6.1)",
		`curl/8.9.1 "quoted" \ & <b>`,
	}
	paths := []string{
		"/", "/index.html", "/api/v1/status?id=4711", "/assets/app.js", "/downloads/setup.exe", "/updates/catalog.cab",
		"/search?q=caf%C3%A9", "/img/logo.png", "/favicon.ico", `/report?name="quarter"&to=caf` + "\u00e9",
	}
	names := []string{"news", "mail", "cdn", "update", "files", "video", "maps", "login", "shop", "static"}
	zones := []string{"example.com", "example.net", "xn--bcher-kva.example", "shopping.example"}

	all := make([]service, 0, len(names)*len(zones)*2)
	for i := range cap(all) {
		s := service{
			domain: fmt.Sprintf("%s%d.%s", names[i%len(names)], i, zones[i%len(zones)]),
			issuer: fmt.Sprintf("C=ZZ, O=Example Trust %d, CN=Example CA %d", i%3, i%5),
			agent:  escaped(agents[i%len(agents)]),
		}
		for j := range s.paths {
			s.paths[j] = escaped(paths[(i+j)%len(paths)])
		}
		all = append(all, s)
	}
	return all
}

// escaped is the text as it stands between the quotes of a JSON string.
func escaped(text string) string {
	quoted, err := json.Marshal(text)
	if err != nil {
		panic(err) // strings always marshal
	}
	return string(quoted[1 : len(quoted)-1])
}
