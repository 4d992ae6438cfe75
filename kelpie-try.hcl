# A complete configuration that works as it stands: "make run" uses it.
#
# Two feeds, recorded from real servers (examples/quickstart): the audit log of a web
# firewall, and the log of a bastion's sshd. Only together do they make sense.
# A path is relative to this file. "kelpie validate" checks every word of it.

kelpie {
  data_dir    = "data"
  plugin_dir  = "bin/plugins"
  secrets_dir = "data/secrets"

  # "dry_run", the default, plans everything and lets nothing leave; "off" plans nothing.
  # Here mails go to a mailbox in the data folder, and calls to a program beside it.
  actions = "on"

  # What is ours. Nothing of it is ever told to an enrichment that is not internal.
  organisation {
    networks = ["10.0.0.0/8", "fd00::/8", "203.0.113.0/24", "2001:db8:20::/48"]
    domains  = ["example.org"]
  }

  # Whatever goes wrong in a rule: no more mails than this.
  limit "notify" {
    per_hour = 50
  }
}

case {
  # Signals that share a value no further apart than this are one case. Every attack
  # on the shop shares the shop's own addresses; those join nothing.
  window = "24h"
  never_join = [
    "ip:203.0.113.10", "ip:2001:db8:20::10",
    "host:bastion",
  ]
}

# ---------------------------------------------------------------- what comes in

detector "file" "firewall" {
  path = "examples/quickstart/recording/modsec_audit.json"

  # An attacker who sends a header twice makes a key come twice in the audit log, which
  # no reader should trust: the values are joined to a list. See plugins/file/README.md.
  repeated_keys = "join"
  invalid_utf8  = "replace"
}

detector "file" "bastion" {
  path   = "examples/quickstart/recording/auth.log"
  format = "text"

  # The user's name is greedy and the line's end is fixed: somebody tried to log in as
  # "root from 10.20.9.5 port 22 ssh2".
  patterns = [
    "^(?P<time>\\S+) (?P<host>\\S+) sshd(?:-session)?\\[\\d+\\]: (?P<outcome>Accepted|Failed) (?P<method>\\S+) for (?P<unknown_user>invalid user )?(?P<user>.*) from (?P<src_ip>\\S+) port (?P<src_port>\\d+) ssh2(?:: (?P<key>.*))?$",
    "^(?P<time>\\S+) (?P<host>\\S+) su\\[\\d+\\]: (?P<outcome>FAILED SU) \\(to (?P<target>.*)\\) (?P<user>\\S+) on (?P<tty>\\S+)$",
  ]
  unmatched = "skip"
}

# ------------------------------------------------------------ what becomes of it

locals {
  offices = ["10.0.0.0/8", "fd00::/8"]
}

template "web_firewall" {
  # A request that no rule of the firewall minded is not an alert.
  when = length(event.raw.transaction.messages) > 0

  map {
    # The last message only says that the sum was too high; the first says why.
    title    = event.raw.transaction.messages[0].message
    time     = event.raw.transaction.time_stamp
    severity = lookup({ "2" = 60, "4" = 20 }, event.raw.transaction.messages[0].details.severity, 30)
    stopped  = event.raw.transaction.response.http_code == 403

    # Affected is the shop, and a machine of ours if it is the one that attacks.
    subjects = {
      ip = [
        event.raw.transaction.host_ip,
        cidr_contains(local.offices, event.raw.transaction.client_ip) ? event.raw.transaction.client_ip : null,
      ]
    }
    indicators = {
      ip = cidr_contains(local.offices, event.raw.transaction.client_ip) ? null : event.raw.transaction.client_ip
    }
  }
}

pipeline "shop" {
  from    = [detector.firewall]
  use     = template.web_firewall
  alerts  = true # what passes is a signal
  respond = [response.tell_owner]
}

# All requests once more, for a rule about what the firewall does not mind.
pipeline "requests" {
  from = [detector.firewall]

  map {
    title      = "Request to ${event.raw.transaction.request.uri}"
    time       = event.raw.transaction.time_stamp
    severity   = 0
    stopped    = event.raw.transaction.response.http_code == 403
    subjects   = { ip = event.raw.transaction.host_ip }
    indicators = { ip = event.raw.transaction.client_ip }
  }
}

rule "log4shell" {
  on       = [pipeline.requests]
  when     = anytrue([for value in values(event.raw.transaction.request.headers) : contains(lower(value), "$${jndi:")])
  severity = 65
}

pipeline "bastion" {
  from = [detector.bastion]

  map {
    title    = "${event.raw.outcome} ${event.raw.method == null ? "" : event.raw.method} for ${event.raw.user}"
    time     = event.raw.time
    severity = 25
    stopped  = event.raw.outcome != "Accepted"

    # A name that was only tried says nothing about its owner.
    subjects = {
      user = event.raw.outcome == "Failed" ? null : event.raw.user
      host = event.raw.host
      ip   = cidr_contains(local.offices, event.raw.src_ip) ? event.raw.src_ip : null
    }
    indicators = {
      ip = cidr_contains(local.offices, event.raw.src_ip) ? null : event.raw.src_ip
    }
  }
}

rule "password_failed" {
  on      = [pipeline.bastion]
  when    = event.raw.outcome == "Failed"
}

rule "login_from_outside" {
  on       = [pipeline.bastion]
  when     = event.raw.outcome == "Accepted" && !cidr_contains(local.offices, event.raw.src_ip)
  severity = 80
  respond  = [response.tell_owner]
}

rule "su_failed" {
  on       = [pipeline.bastion]
  when     = event.raw.outcome == "FAILED SU"
  severity = 50
  respond  = [response.tell_owner]
}

ignore "our vulnerability scanner" {
  on      = [pipeline.shop, pipeline.requests]
  when    = cidr_contains(["10.20.9.5/32", "fd00:20:9::5/128"], event.raw.transaction.client_ip)
  owner   = "kim@example.org"
  reason  = "the weekly scan, announced"
  expires = "2027-11-01"
}

# ------------------------------------------------------------- what else is known

enrichment "table" "assets" {
  internal = true # may name who is affected, and may be asked about what is ours
  path     = "examples/quickstart/assets.csv"
  takes    = ["ip", "host"]
}

enrichment "table" "people" {
  internal = true
  path     = "examples/quickstart/people.csv"
  takes    = ["user"]
}

enrichment "table" "watchlist" {
  path  = "examples/quickstart/watchlist.csv"
  takes = ["ip"]
  ttl   = "1h"
}

score {
  preset = "balanced"

  # In the place of the preset's factor of this name: what the firewall or sshd has
  # stopped is half as bad.
  factor "threat" {
    weight  = 0.8
    combine = "max"

    evidence "verdicts" {
      for_each = case.verdicts
      points   = each.value.score * each.value.confidence / 100
      because  = "${each.value.source} calls ${each.value.observable} ${each.value.disposition}"
    }
    evidence "detector" {
      points  = case.stopped == true ? case.severity / 2 : case.severity
      because = "reported at ${case.severity}${case.stopped == true ? ", and all of it was stopped" : ""}"
    }
  }
}

# ------------------------------------------------------------------ what is done

response "tell_owner" {
  when = case.score.total >= 60 && case.stopped != true

  step "mail" {
    do   = action.mail.notify
    to   = route.system_owner
    text = "Kelpie found something about a system that you own."
  }
}

route "system_owner" {
  to        = [case.assets.owner]
  otherwise = "soc@example.org"
}

action "email" "mail" {
  server = "smtp://127.0.0.1:2525"
  from   = "kelpie@example.org"
}

# Binds every response, page and command: what is not known counts as protected.
protect "what others depend on" {
  verbs = ["isolate_host", "close_port"]
  when  = contains(target.asset.roles, "monitoring")
}
