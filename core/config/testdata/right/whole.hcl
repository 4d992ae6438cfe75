# Every part that can run, with what may be left out left out where it can be.
kelpie {
  data_dir    = "state"
  plugin_dir  = "plugins"
  secrets_dir = "keys"
  actions     = "on"
  sync        = "interval"
  reserve     = "2GiB"
  keep        = "3d"

  organisation {
    networks = ["10.0.0.0/8", "fd00::/8"]
    domains  = ["Example.org"]
  }
  limit "isolate_host" {
    per_hour = 10
  }
  limit "carbonblack.sweep" {
    per_hour = 1
  }
  stream "rejected" {
    size       = "1GiB"
    per_source = "10MB"
  }
  memory {
    signals = 200000
    steps   = 1000
    answers = "64MiB"
  }
}

case {
  window     = "12h"
  never_join = ["ip:10.0.0.1", "domain:EXAMPLE.com"]
}

variable "folder" {
  default = "logs"
}

variable "threshold" {
  type    = "number"
  default = 60
}

locals {
  eve      = "${var.folder}/eve.json"
  scanners = ["10.9.0.0/24", "10.10.0.0/24"]
}

detector "file" "eve" {
  path    = local.eve
  timeout = "5s"
  env     = { LANG = "C" }

  field "user" {
    index = 1
  }
  skip {
    prefix = "#"
  }
  skip {
    prefix = ";"
  }

  health {
    silence = "15m"
    fields  = ["timestamp"]
    runbook = "docs/suricata.md"
  }
}

template "base" {
  when     = has(event.raw.event_type)
  timezone = "Europe/Berlin"

  map {
    title    = event.raw.base
    severity = 10
    subjects = { ip = event.raw.src_ip }
  }
}

template "ids" {
  use     = template.base
  when    = event.raw.event_type == "alert"
  alerts  = true
  respond = [response.tell]

  map {
    title      = event.raw.alert.signature
    indicators = { ip = [event.raw.dest_ip, event.raw.src_ip], domain = event.raw.tls.sni }
  }
}

pipeline "edge" {
  from = [detector.eve]
  use  = template.ids
  when = !coalesce(anytrue([for net in local.scanners : cidr_contains(net, event.raw.dest_ip)]), false)

  map {
    severity = 90
  }
}

ignore "vulnerability scanner" {
  on      = [pipeline.edge]
  when    = cidr_contains("10.9.0.0/24", event.raw.src_ip)
  owner   = "netsec"
  reason  = "weekly scan"
  expires = "2027-03-01"
}

connection "carbonblack" "edr" {
  url   = "https://cb.example.org"
  token = secret("cb-token")
}

detector "carbonblack" "edr" {
  connection = connection.edr
}

pipeline "edr" {
  from = [detector.edr]
}

rule "loud" {
  on       = [pipeline.edr, pipeline.edge]
  when     = event.severity >= 80
  title    = "loud: ${event.title}"
  severity = 85
  respond  = [response.tell, response.contain]

  about {
    goal            = "An alert that its own source takes for grave."
    plainly         = "Something says itself that it is bad."
    technique       = ["T1204"]
    strategy        = "The severity that the source reports, or that the pipeline gives."
    blind_spots     = "What its source takes for harmless."
    false_positives = "Sources that call everything grave."
    validation      = "Report an alert of severity 100 by hand."
    author          = "netsec"
  }

  forecast {
    per_week  = 3
    precision = 0.8
    loss      = 50000
    p         = 0.05
  }

  test "an alert of the edge, which gives 90" {
    given "detector.eve" {
      events = [{ event_type = "alert", src_ip = "10.1.2.3", dest_ip = "203.0.113.7", alert = { signature = "ET MALWARE" } }]
    }
    want {
      signals = 1
    }
  }

  test "what is no alert is quiet" {
    given "detector.eve" {
      events = [{ event_type = "flow", src_ip = "10.1.2.3", dest_ip = "203.0.113.7" }]
    }
    want {
      signals = 0
    }
  }
}

rule "quiet" {
  state = "experimental"
  on    = [pipeline.edr]
  when  = event.stopped == false
}

action "carbonblack" "edr" {
  connection = connection.edr
  isolation  = "own"
}

action "email" "mail" {
  server   = "smtp://mail.example.org:587"
  from     = "kelpie@example.org"
  password = secret("mail")
  headers  = { X-Key = secret("cb-token") }
}

enrichment "table" "assets" {
  internal = true
  path     = "assets.csv"
  takes    = ["ip", "host"]
  patience = "2s"
}

enrichment "virustotal" "reputation" {
  api_key = secret("vt")

  limit {
    per_minute = 4
    per_day    = 500
  }
}

enrichment "table" "old" {
  enabled = false
  path    = "old.csv"
}

score {
  preset = "balanced"

  factor "threat" {
    weight  = 0.85
    combine = "decay"

    evidence "detector" {
      points  = case.severity
      because = "reported at ${case.severity}"
    }
  }
}

response "tell" {
  when = case.score.total >= var.threshold

  step "mail" {
    do      = action.mail.notify
    to      = route.owner
    because = "the score is ${case.score.total}"

    parameters {
      subject = "[kelpie] ${case.title}"
    }
  }
}

response "contain" {
  when = case.score.total >= 80 && case.stopped != true

  step "isolate" {
    do         = action.edr.isolate_host
    targets    = case.hosts
    undo_after = "1d"
  }
  step "sweep" {
    do      = action.edr.carbonblack.sweep
    when    = step.isolate.result == "done"
    targets = case.subjects

    parameters {
      depth = 2
      note  = "after ${target.value}"
    }
  }
}

route "owner" {
  to        = [case.assets.owner, "oncall@example.org"]
  otherwise = "soc@example.org"
}

protect "domain controllers" {
  verbs = ["isolate_host", "close_port"]
  when  = contains(target.asset.roles, "domain_controller")
}

protect "everything that is ours to run" {
  when = target.asset.criticality >= 90
}

plugin "file" {
  user    = "kelpie-file"
  read    = ["/etc/app", "more"]
  network = ["tcp:8443", "listen:514"]
  memory  = "256MiB"
}

plugin "email" {
  confine = false
}
