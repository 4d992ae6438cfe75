# Three packs over the quickstart's two feeds: web attacks, guessed passwords and new
# administrators. Each pack is a folder that can be given away as it is; this file says
# what they read here and who is told. See README.md.

kelpie {
  data_dir   = "data/packs"
  plugin_dir = "bin/plugins"

  organisation {
    networks = ["10.0.0.0/8", "fd00::/8", "203.0.113.0/24", "2001:db8:20::/48"]
    domains  = ["example.org"]
  }
}

case {
  # Every attack on the shop shares the shop's own addresses; those join nothing.
  never_join = ["ip:203.0.113.10", "ip:2001:db8:20::10", "host:bastion"]
}

# ---------------------------------------------------------------- what comes in

detector "file" "firewall" {
  path          = "../quickstart/recording/modsec_audit.json"
  repeated_keys = "join"
  invalid_utf8  = "replace"
}

# sshd's log-ins, and what the tools that change accounts write, of one file.
detector "file" "bastion" {
  path   = "../quickstart/recording/auth.log"
  format = "text"

  patterns = [
    "^(?P<time>\\S+) (?P<host>\\S+) sshd(?:-session)?\\[\\d+\\]: (?P<outcome>Accepted|Failed) (?P<method>\\S+) for (?P<unknown_user>invalid user )?(?P<user>.*) from (?P<src_ip>\\S+) port (?P<src_port>\\d+) ssh2(?:: (?P<key>.*))?$",
    "^(?P<time>\\S+) (?P<host>\\S+) (?P<tool>useradd)\\[\\d+\\]: new user: name=(?P<user>[^,]+), UID=(?P<uid>\\d+), .*$",
    "^(?P<time>\\S+) (?P<host>\\S+) (?P<tool>usermod|useradd)\\[\\d+\\]: add '(?P<user>[^']+)' to group '(?P<group>[^']+)'$",
    "^(?P<time>\\S+) (?P<host>\\S+) (?P<tool>gpasswd)\\[\\d+\\]: user (?P<user>\\S+) added by (?P<by>\\S+) to group (?P<group>\\S+)$",
  ]
  unmatched = "skip"
}

# ------------------------------------------------------------------- the packs

pack "web" {
  source    = "web"
  detectors = { audit = detector.firewall }
  responses = { tell = response.tell_soc }

  variables = {
    ours = ["10.20.9.5/32", "fd00:20:9::5/128"] # our own vulnerability scanner
  }
}

pack "guess" {
  source    = "guess"
  detectors = { logins = detector.bastion }
  responses = { tell = response.tell_soc }
}

pack "admin" {
  source    = "admin"
  detectors = { accounts = detector.bastion }
  responses = { tell = response.tell_soc }
}

# ------------------------------------------------------------------ what is done

enrichment "table" "assets" {
  internal = true
  path     = "../quickstart/assets.csv"
  takes    = ["ip", "host"]
}

score {
  preset = "balanced"
}

response "tell_soc" {
  when = case.score.total >= 30

  step "mail" {
    do      = action.mail.notify
    to      = "soc@example.org"
    because = "only a person can tell an attacker from a colleague who forgot a password"
  }
}

action "email" "mail" {
  server = "smtp://127.0.0.1:2525"
  from   = "kelpie@example.org"
}
