connection "reputation" "main" {
  url   = "http://127.0.0.1:9180"
  token = secret("REPUTATION_TOKEN")
}

detector "reputation" "alerts" {
  connection = connection.main
}

pipeline "alerts" {
  from    = [detector.alerts]
  alerts  = true
  respond = [response.block]
}

enrichment "reputation" "addresses" {
  connection = connection.main
}

action "reputation" "blocks" {
  connection = connection.main
}

response "block" {
  when = case.score.total >= 60

  step "block" {
    do      = action.blocks.block_indicator
    targets = case.indicators
  }
}

kelpie {
  plugin_dir = "plugins"
}
