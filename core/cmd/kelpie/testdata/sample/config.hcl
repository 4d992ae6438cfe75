# A small configuration that the scripts run; a script brings what it wants different.
kelpie {
  plugin_dir = env("PLUGINS")
  actions    = "on"
  organisation { networks = ["10.0.0.0/8"] }
  stream "events" { size = "256MiB" } # on however small a disk
  stream "inputs" { size = "256MiB" }
  stream "rejected" { size = "64MiB" }
}

detector "file" "feed" {
  path = "feed.json"
}

pipeline "alerts" {
  from    = [detector.feed]
  when    = event.raw.kind == "alert"
  alerts  = true
  respond = [response.record]

  map {
    title      = event.raw.what
    time       = event.raw.time
    severity   = event.raw.severity
    subjects   = { host = event.raw.host, user = event.raw.user, ip = event.raw.to }
    indicators = { ip = event.raw.from }
  }
}

ignore "the scanner" {
  on      = [pipeline.alerts]
  when    = event.raw.from == "203.0.113.99"
  owner   = "kim"
  reason  = "the weekly scan"
  expires = "2099-01-01"
}

enrichment "table" "assets" {
  internal = true
  path     = "assets.csv"
  takes    = ["ip", "host"]
}

score {
  preset = "balanced"
}

response "record" {
  when = case.score.total >= 30

  step "ticket" {
    do = action.desk.ticket
    to = "soc@example.org"
  }
}

action "fake" "desk" {
  file = "calls.txt"
}
