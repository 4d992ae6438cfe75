rule "classes" {
  on       = [pipeline.minded]
  within   = "10m"
  severity = 65
  respond  = [response.tell]
  title    = "Somebody works through classes of attacks on the web server"

  key {
    ip = event.raw.transaction.client_ip
  }

  distinct {
    of    = regex_extract("^[0-9]{3}", event.raw.transaction.messages[0].details.ruleId)
    least = var.classes
  }

  about {
    goal            = "Somebody who tries one kind of attack after another until one works."
    plainly         = "Somebody is looking for a way into the web site by hand or with a tool."
    technique       = ["T1190", "T1595.002"]
    strategy        = "The first three digits of a rule's number are its class in the core rule set: 930 files, 941 scripts, 942 SQL. One class from an address is often a customer with an unlucky sentence; three within ten minutes are nobody's accident."
    blind_spots     = "Who stays with one class, takes longer than ten minutes, or comes from many addresses. What the firewall does not mind."
    false_positives = "A scanner of one's own that is not in the variable ours; a developer who tests; many people behind one address."
    validation      = "Ask for /?id=1%27%20OR%20%271%27=%271, /?page=../../etc/passwd and /.env from one address."
    author          = "Kelpie's examples"
    references      = ["https://coreruleset.org"]
  }

  test "SQL injection, then a file, then a backup" {
    given "detector.audit" {
      events = file("tests/intruder.ndjson")
    }
    want {
      signals = 1
    }
  }

  test "a customer with an unlucky sentence is quiet" {
    given "detector.audit" {
      events = file("tests/customer.ndjson")
    }
    want {
      signals = 0
    }
  }
}

rule "blocked" {
  on       = [pipeline.minded]
  when     = event.raw.transaction.response.http_code == 403
  count    = var.blocked
  within   = "10m"
  severity = 50
  respond  = [response.tell]
  title    = "One address is blocked again and again"

  key {
    ip = event.raw.transaction.client_ip
  }

  about {
    goal            = "Somebody who goes on although the firewall blocks each request."
    plainly         = "Somebody keeps attacking the web site, and so far all of it is stopped."
    technique       = ["T1190"]
    strategy        = "Who is blocked by accident gives up or calls. Ten blocked requests within ten minutes are meant."
    blind_spots     = "Who is slow, or comes from many addresses."
    false_positives = "A program of one's own that the firewall misunderstands; it is worth knowing too."
    validation      = "Ask for /.env ten times."
    author          = "Kelpie's examples"
  }

  test "twelve times" {
    given "detector.audit" {
      events = [for n in range(10, 22) : { transaction = { client_ip = "10.20.1.31", host_ip = "203.0.113.10", time_stamp = "Sun Nov 22 12:40:${n} 2026", request = { uri = "/.env" }, response = { http_code = 403 }, messages = [{ message = "Restricted File Access Attempt", details = { ruleId = "930130", severity = "2" } }] } }]
    }
    want {
      signals = 1
    }
  }

  test "twelve that were let through are quiet" {
    given "detector.audit" {
      events = [for n in range(10, 22) : { transaction = { client_ip = "10.20.9.8", host_ip = "203.0.113.10", time_stamp = "Sun Nov 22 12:40:${n} 2026", request = { uri = "/" }, response = { http_code = 200 }, messages = [{ message = "Host header is a numeric IP address", details = { ruleId = "920350", severity = "4" } }] } }]
    }
    want {
      signals = 0
    }
  }
}

rule "tool" {
  on       = [pipeline.requests]
  when     = has(table.tools[lower(regex_extract("(?i)\\b(sqlmap|nikto|nmap|nuclei|gobuster|wfuzz|openvas|ffuf|dirbuster)\\b", event.raw.transaction.request.headers["User-Agent"]))])
  title    = "${table.tools[lower(regex_extract("(?i)\\b(sqlmap|nikto|nmap|nuclei|gobuster|wfuzz|openvas|ffuf|dirbuster)\\b", event.raw.transaction.request.headers["User-Agent"]))].tool} at work on the web server"
  severity = 40
  respond  = [response.tell]

  about {
    goal            = "A tool for attacks that says its name."
    plainly         = "Somebody scans the web site with a well-known tool, and does not hide it."
    technique       = ["T1595.002"]
    strategy        = "Tools name themselves in the user agent unless somebody tells them not to. The words, and what each tool is for, are in tools.csv."
    blind_spots     = "Everybody who changes the user agent, which is one option of each tool."
    false_positives = "Scans that were ordered; add their networks to the variable ours."
    validation      = "curl -A sqlmap/1.8 http://www.example.org/"
    author          = "Kelpie's examples"
  }

  test "sqlmap says its name" {
    given "detector.audit" {
      events = file("tests/sqlmap.ndjson")
    }
    want {
      signals = 1
    }
  }

  test "browsers are quiet" {
    given "detector.audit" {
      events = file("tests/customer.ndjson")
    }
    want {
      signals = 0
    }
  }
}

rule "log4shell" {
  on       = [pipeline.requests]
  when     = anytrue([for value in values(event.raw.transaction.request.headers) : contains(lower(value), "$${jndi:")])
  title    = "Log4Shell in a header of the request"
  severity = 65
  respond  = [response.tell]

  about {
    goal            = "A request that wants a Java program to load code from elsewhere (CVE-2021-44228)."
    plainly         = "Somebody tries an old and dangerous hole of Java programs."
    technique       = ["T1190"]
    strategy        = "The text $${jndi: has no business in a header. The core rule set before version 4 does not look into every header."
    blind_spots     = "The many ways to write it otherwise, such as $${$${lower:j}ndi:, and bodies."
    false_positives = "Scans that were ordered; add their networks to the variable ours."
    validation      = "curl -H 'X-Api-Version: $${jndi:ldap://127.0.0.1/a}' http://www.example.org/"
    author          = "Kelpie's examples"
    references      = ["https://nvd.nist.gov/vuln/detail/CVE-2021-44228"]
  }

  test "in the user agent, in any case" {
    given "detector.audit" {
      events = file("tests/log4shell.ndjson")
    }
    want {
      signals = 2
    }
  }

  test "ordinary headers are quiet" {
    given "detector.audit" {
      events = file("tests/customer.ndjson")
    }
    want {
      signals = 0
    }
  }
}
