# What is tried beside what counts.
detector "file" "eve" {
  path = "eve.json"
}

detector "file" "eve_b" {
  path   = "eve_b.json"
  shadow = detector.eve
}

enrichment "virustotal" "reputation" {
  api_key = secret("vt")
}

enrichment "table" "reputation_b" {
  path   = "reputation.csv"
  takes  = ["ip"]
  shadow = enrichment.reputation
}

enrichment "table" "off" {
  enabled = false
  path    = "reputation.csv"
  takes   = ["ip"]
  shadow  = enrichment.reputation
}

pipeline "ids" {
  from    = [detector.eve]
  alerts  = true
  respond = [response.tell]
}

action "email" "mail" {
  server = "smtp://mail.example.org:587"
  from   = "kelpie@example.org"
}

response "tell" {
  step "mail" {
    do = action.mail.notify
    to = ["soc@example.org"]
  }
}
