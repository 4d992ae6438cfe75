kelpie {
  data_dir   = "data"
  plugin_dir = "bin/plugins"
  listen     = "127.0.0.1:8420"
  actions    = "on"                          # "dry_run" is the default; "off" plans nothing

  organisation {                             # what is ours, and so never sent to an external enrichment
    networks = ["10.0.0.0/8", "fd00::/8"]
    domains  = ["example.org"]
  }
  limit "isolate_host" {
    per_hour = 10
  }
}

case {
  window     = "24h"                         # signals that share a value no further apart than this are one case
  lateness   = "10m"                         # per source: a slow or old feed is not late
  never_join = ["ip:10.0.0.1"]
}

detector "file" "eve" {
  path   = "/var/log/suricata/eve.json"
  format = "json"

  health {
    silence = "15m"
    fields  = ["timestamp", "event_type", "src_ip"]
    runbook = "docs/runbooks/suricata.md"
  }
}

template "ids" {                             # a reusable module for one kind of source
  when = event.raw.event_type == "alert"

  map {
    title      = event.raw.alert.signature
    time       = event.raw.timestamp
    severity   = lookup({ "1" = 90, "2" = 60, "3" = 30 }, event.raw.alert.severity, 10)
    subjects   = { ip = event.raw.src_ip }
    indicators = { ip = event.raw.dest_ip, domain = event.raw.tls.sni }
  }
}

pipeline "edge_ids" {
  from    = [detector.eve]
  use     = template.ids
  alerts  = true                             # what passes is a signal; without it, only rules make signals
  respond = [response.ask_then_isolate]
}

ignore "vulnerability scanner" {             # owned, explained, counted, and it ends
  on      = [pipeline.edge_ids]
  when    = cidr_contains("10.9.0.0/24", event.raw.src_ip)
  owner   = "netsec"
  reason  = "weekly scan"
  expires = "2027-03-01"
}

connection "carbonblack" "edr" {
  url     = "https://cb.example.org"
  token   = secret("cb-token")
  ca_file = "/etc/kelpie/ca.pem"
}

detector "carbonblack" "edr_alerts" {
  connection = connection.edr
}

pipeline "edr" {                             # no map: the connector brings one
  from    = [detector.edr_alerts]
  alerts  = true
  respond = [response.contain]
}

action "carbonblack" "edr" {
  connection = connection.edr
}

action "email" "mail" {
  server = "smtp://mail.example.org:587"
  from   = "kelpie@example.org"
}

enrichment "table" "assets" {
  internal = true                            # may name subjects; every other enrichment is external
  path     = "assets.csv"
  takes    = ["ip", "host"]
}

enrichment "virustotal" "reputation" {
  api_key  = secret("vt")
  takes    = ["hash", "domain", "url", "ip"]
  ttl      = "24h"
  patience = "10s"

  limit {
    per_minute = 4
    per_day    = 500
  }
}

rule "beacon_then_drop" {                    # a detection, written the way Palantir's ADS framework asks
  state    = "production"                    # "experimental" needs only a condition, and reaches nobody
  sequence = [pipeline.edge_ids, pipeline.edr]
  by       = ["host"]                        # edge_ids has none itself: enrichment.assets names it
  within   = "30m"
  severity = 80
  respond  = [response.contain]

  about {
    goal            = "A host that calls home and then receives a program."
    plainly         = "A computer may be under somebody else's control."
    technique       = ["T1071.001", "T1105"]
    strategy        = "…"
    blind_spots     = "…"
    false_positives = "…"
    validation      = "…"
    author          = "netsec"
  }

  test "fires on a beacon followed by a drop" {
    given "detector.eve" {
      events = file("tests/beacon.ndjson")
    }
    given "detector.edr_alerts" {
      events = file("tests/drop.ndjson")
    }
    answer "enrichment.assets" "ip" "10.1.2.3" {
      asset = { name = "ws-17", owner = "kim" }
    }
    want {
      signals = 1
      steps   = ["response.contain.isolate"]
    }
  }

  test "a beacon alone is quiet" {
    given "detector.eve" {
      events = file("tests/beacon.ndjson")
    }
    want {
      signals = 0
    }
  }
}

score {
  preset = "balanced"                        # "fido" reproduces the published matrix

  factor "threat" {
    weight  = 0.8
    combine = "max"                          # max, sum, decay

    evidence "verdicts" {
      for_each = case.verdicts
      points   = each.value.score * each.value.confidence / 100
      because  = "${each.value.source} calls ${each.value.observable} ${each.value.disposition}"
    }
    evidence "detector" {
      points  = case.severity
      because = "reported at ${case.severity}"
    }
  }
  factor "machine" {
    weight  = 0.2
    combine = "max"

    evidence "criticality" {
      for_each = case.assets
      points   = each.value.criticality
      because  = "${each.value.name} is rated ${each.value.criticality}"
    }
  }
}

response "contain" {
  when = case.score.total >= 80 && case.stopped != true

  step "isolate" {
    do         = action.edr.isolate_host
    targets    = case.hosts
    undo_after = "4h"
  }
}

response "ask_then_isolate" {
  when = case.score.total >= 60

  step "ask" {
    do   = action.mail.notify
    to   = route.system_owner
    wait = "20m"                             # result: answered, timed_out, failed

    option "ignore" {
      needs_reason = true
    }
    option "contain" {
      run = [step.isolate]
    }
  }

  step "isolate" {
    when       = step.ask.result == "timed_out"
    do         = action.edr.isolate_host
    targets    = case.hosts
    undo_after = "4h"
  }
}

route "system_owner" {
  to        = [case.assets.owner, "oncall@example.org"]
  otherwise = "soc@example.org"
}

protect "domain controllers" {               # binds every response, page and command; fails closed
  verbs = ["isolate_host", "close_port"]
  when  = contains(target.asset.roles, "domain_controller")
}
