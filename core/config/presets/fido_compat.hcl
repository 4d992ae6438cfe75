# The matrix of Netflix's FIDO as its code of 2015 computes it, faults included, with
# the values that came with it. See docs/score.md for what it reads, and for the preset
# "fido", which has none of the faults.
inputs = {
  asset_score   = true # fido.director.assetscore
  titles        = []
  departments   = []
  title         = 25
  department    = 30
  feed_weight   = 1 # VirusTotal's, for addresses
  sample_weight = 1 # ThreatGRID's
  av_trojan     = 40
  av_regular    = 0 # its multiplier has another name in the code than in the data
}

round = 5

# Points are 0 to 1000 and more, and divided by ten.
factor "threat" {
  weight  = 1
  combine = "sum"
  divide  = 10
  round   = 5

  # The rule for trojans is overwritten by the one for all.
  evidence "virustotal hash" {
    when = anytrue([for d in ["bit9", "mps", "cyphortv2", "cyphortv3", "carbonblackv1"] : contains(case.sources, "detector.${d}")])
    points = (
      sum(0, [for v in case.verdicts : v.details.positives if v.kind == "hash" && v.details.positives > 0]) >= 3
      ? 15 * sum([for v in case.verdicts : v.details.positives if v.kind == "hash" && v.details.positives > 0])
      : length([for r in flatten([for v in case.verdicts : v.details.results if v.kind == "hash"]) : r if contains(lower(r), "troj")]) >= 3
      ? 30 * length([for r in flatten([for v in case.verdicts : v.details.results if v.kind == "hash"]) : r if contains(lower(r), "troj")])
      : null
    )
    because = "VirusTotal's engines find ${sum(0, [for v in case.verdicts : v.details.positives if v.kind == "hash" && v.details.positives > 0])} times that the files are bad"
    source  = join(", ", distinct([for v in case.verdicts : v.source if v.kind == "hash" && has(v.details.positives)]))
  }

  # What engines write counts, and not how many there are.
  evidence "virustotal url" {
    when = anytrue([for d in ["mps", "cyphortv2", "cyphortv3"] : contains(case.sources, "detector.${d}")])
    points = (
      length([for r in flatten([for v in case.verdicts : v.details.results if v.kind == "url" && v.details.positives > 0]) : r if contains(lower(r), "malicious site")]) >= 3
      ? 15 * length([for r in flatten([for v in case.verdicts : v.details.results if v.kind == "url" && v.details.positives > 0]) : r if contains(lower(r), "malicious site")])
      : null
    )
    because = "VirusTotal's engines call the URLs a malicious site"
    source  = join(", ", distinct([for v in case.verdicts : v.source if v.kind == "url" && has(v.details.positives)]))
  }

  # Bands in which more detections may count less. Without a feed weight it divides by
  # nothing, which is more than any cap.
  evidence "virustotal ip" {
    when = (
      anytrue([for d in ["mps", "cyphortv2", "cyphortv3", "panv1"] : contains(case.sources, "detector.${d}")])
      && anytrue([for v in case.verdicts : v.kind == "ip" && (has(v.details.detected_urls) || has(v.details.detected_communicating_samples) || has(v.details.detected_downloaded_samples))])
    )
    points = input.feed_weight == 0 ? 10000 : sum(
      4.5 * sum(0, [for p in flatten([for v in case.verdicts : [for s in v.details.detected_downloaded_samples : s.positives] if v.kind == "ip"]) : p >= 20 ? p * 0.5 : p >= 10 ? p * 0.65 : p >= 3 ? p * 0.75 : 0]),
      2 * sum(0, [for p in flatten([for v in case.verdicts : [for s in v.details.detected_communicating_samples : s.positives] if v.kind == "ip"]) : p >= 20 ? p * 0.65 : p >= 10 ? p * 0.75 : p >= 3 ? p : 0]),
      4.5 * sum(0, [for p in flatten([for v in case.verdicts : [for s in v.details.detected_urls : s.positives] if v.kind == "ip"]) : p >= 20 ? p * 0.5 : p >= 5 ? p * 0.6 : p >= 3 ? p * 0.75 : 0])
    ) / input.feed_weight
    because = "VirusTotal knows bad URLs and files at the addresses"
    source  = join(", ", distinct([for v in case.verdicts : v.source if v.kind == "ip" && has(v.details.detected_urls)]))
  }

  # The mean without its fraction, as it is added up for hashes and for addresses.
  evidence "threatgrid hash" {
    when    = anytrue([for d in ["cyphortv3", "carbonblackv1"] : contains(case.sources, "detector.${d}")])
    points  = floor(sum(flatten([for v in case.verdicts : v.details.scores if v.kind == "hash"])) / length(compact(flatten([for v in case.verdicts : v.details.scores if v.kind == "hash"])))) * 10 / input.sample_weight
    because = "ThreatGRID's samples score ${floor(sum(flatten([for v in case.verdicts : v.details.scores if v.kind == "hash"])) / length(compact(flatten([for v in case.verdicts : v.details.scores if v.kind == "hash"]))))} for the files"
    source  = join(", ", distinct([for v in case.verdicts : v.source if v.kind == "hash" && has(v.details.scores)]))
  }
  evidence "threatgrid ip" {
    when    = anytrue([for d in ["cyphortv3", "panv1"] : contains(case.sources, "detector.${d}")])
    points  = floor(sum(flatten([for v in case.verdicts : v.details.scores if v.kind == "ip"])) / length(compact(flatten([for v in case.verdicts : v.details.scores if v.kind == "ip"])))) * 10 / input.sample_weight
    because = "ThreatGRID's samples score ${floor(sum(flatten([for v in case.verdicts : v.details.scores if v.kind == "ip"])) / length(compact(flatten([for v in case.verdicts : v.details.scores if v.kind == "ip"]))))} for the addresses"
    source  = join(", ", distinct([for v in case.verdicts : v.source if v.kind == "ip" && has(v.details.scores)]))
  }

  # Of exactly 5 neither more nor less is true.
  evidence "alienvault" {
    for_each = case.verdicts
    when = (
      anytrue([for d in ["mps", "cyphortv2", "cyphortv3"] : contains(case.sources, "detector.${d}")])
      && contains(["malware host", "malware distribution", "malware domain", "malware ip", "c&c"], lower(each.value.details.activity))
    )
    points = (
      (each.value.details.risk > 8 ? 20 : each.value.details.risk > 5 ? 10 : each.value.details.risk < 5 ? 5 : 0)
      * (each.value.details.reliability > 8 ? 5 : each.value.details.reliability > 5 ? 3 : each.value.details.reliability < 5 ? 2 : 0)
    )
    because = "AlienVault calls ${each.value.observable} a ${each.value.details.activity}, risk ${each.value.details.risk}, reliability ${each.value.details.reliability}"
  }

  evidence "antivirus" {
    for_each = case.verdicts
    when     = contains(case.sources, "detector.antivirus") && has(each.value.details.action)
    points = starts_with(lower(each.value.details.threat), "troj/") ? lookup({
      "none, cleanable"                      = input.av_trojan
      "none, cleanup failed"                 = input.av_trojan + 20
      "none, restart required"               = input.av_trojan - 10
      "none, not cleanable"                  = input.av_trojan + 40
      "partially removed, cleanable"         = input.av_regular
      "partially removed, cleanup failed"    = input.av_regular + 10
      "partially removed, restart required"  = input.av_regular - 5
      "partially removed, not cleanable"     = input.av_regular + 30
      }, lower("${each.value.details.action}, ${each.value.details.status}")) : lookup({
      "none, cleanable"                      = input.av_trojan
      "none, cleanup failed"                 = input.av_trojan + 5
      "none, restart required"               = input.av_trojan
      "none, not cleanable"                  = input.av_trojan + 20
      "partially removed, cleanable"         = input.av_regular
      "partially removed, cleanup failed"    = input.av_regular
      "partially removed, restart required"  = input.av_regular - 15
      "partially removed, not cleanable"     = input.av_regular + 10
    }, lower("${each.value.details.action}, ${each.value.details.status}"))
    because = "${each.value.details.threat} was found: action ${each.value.details.action}, ${each.value.details.status}"
  }

  # Of several hashes or URLs only the last one's history survives; of an address more
  # than one earlier case counts, of the others one.
  evidence "hash seen before" {
    points  = sum([for h in case.history : h.cases >= 5 ? 20 : 10 if h.kind == "hash" && h.cases >= 1 && h.value == slice([for o in case.indicators : o.value if o.kind == "hash"], length([for o in case.indicators : o if o.kind == "hash"]) - 1)[0]])
    because = "the file was seen before"
  }
  evidence "url seen before" {
    points  = sum([for h in case.history : h.cases >= 5 ? 20 : 10 if h.kind == "url" && h.cases >= 1 && h.value == slice([for o in case.indicators : o.value if o.kind == "url"], length([for o in case.indicators : o if o.kind == "url"]) - 1)[0]])
    because = "the URL was seen before"
  }
  evidence "ip seen before" {
    points  = sum([for h in case.history : h.cases >= 5 ? 20 : 10 if h.kind == "ip" && h.cases > 1 && h.value == slice([for o in case.indicators : o.value if o.kind == "ip"], length([for o in case.indicators : o if o.kind == "ip"]) - 1)[0]])
    because = "the address was seen before"
  }

  # Two alerts of these detectors in one report are one object, and what the first
  # scored, 0 to 100, is there when the second is added up.
  evidence "carried over" {
    when = length([for s in case.signals : s if contains(["detector.cyphortv3", "detector.protectwisev1", "detector.bit9"], s.source)]) > 1
    points = min(100, 5 * (
      floor(factor.points / 50) + (
        factor.points / 50 - floor(factor.points / 50) > 0.5
        || factor.points / 50 - floor(factor.points / 50) == 0.5 && floor(factor.points / 50) - 2 * floor(factor.points / 100) == 1
        ? 1 : 0
      )
    ))
    because = "what the alert before scored is added as points"
  }

  # Meant for 0 to 100, and applied to 0 to 1000: it lowers what is above.
  evidence "alerted in the last twelve hours" {
    when = (
      min([for h in case.history : time_diff(case.first_at, h.at) if h.kind == "host" && h.subject]) > 14400
      && min([for h in case.history : time_diff(case.first_at, h.at) if h.kind == "host" && h.subject]) < 43200
    )
    points  = factor.points > 50 ? 75 - factor.points : 15
    because = "the host alerted in the last twelve hours: ${factor.points > 50 ? "75 points" : "15 points more"}"
  }
  evidence "alerted before" {
    when    = min([for h in case.history : time_diff(case.first_at, h.at) if h.kind == "host" && h.subject]) >= 43200
    points  = factor.points > 50 ? 100 - factor.points : 25
    because = "the host alerted before: ${factor.points > 50 ? "100 points" : "25 points more"}"
  }
}

factor "machine" {
  weight  = 1
  combine = "sum"
  round   = 5

  evidence "critical patches" {
    for_each = case.assets
    when     = input.asset_score && each.value.subject && each.value.patches.critical >= 5
    points   = 20
    because  = "${each.value.name} misses ${each.value.patches.critical} critical patches"
  }
  evidence "high patches" {
    for_each = case.assets
    when     = input.asset_score && each.value.subject && each.value.patches.high >= 10
    points   = 5
    because  = "${each.value.name} misses ${each.value.patches.high} important patches"
  }
  evidence "not in the inventory" {
    when    = input.asset_score && length(case.hosts) > 0 && length([for a in case.assets : a if a.subject]) == 0 && !contains(case.sources, "detector.antivirus")
    points  = 50
    because = "${join(", ", case.hosts)} is in no inventory"
  }
  evidence "counted again" {
    when    = length([for s in case.signals : s if contains(["detector.cyphortv3", "detector.protectwisev1", "detector.bit9"], s.source)]) > 1
    points  = factor.points * (length([for s in case.signals : s if contains(["detector.cyphortv3", "detector.protectwisev1", "detector.bit9"], s.source)]) - 1)
    because = "the same, once more for each further alert of one report"
  }
}

factor "user" {
  weight  = 1
  combine = "sum"
  round   = 5

  evidence "title" {
    for_each = case.identities
    when     = input.asset_score && each.value.subject && contains([for t in input.titles : lower(t)], lower(each.value.title))
    points   = input.title * length([for t in input.titles : t if lower(t) == lower(each.value.title)])
    because  = "${each.value.name} is ${each.value.title}"
  }
  evidence "department" {
    for_each = case.identities
    when     = input.asset_score && each.value.subject && contains([for d in input.departments : lower(d)], lower(each.value.department))
    points   = input.department * length([for d in input.departments : d if lower(d) == lower(each.value.department)])
    because  = "${each.value.name} works in ${each.value.department}"
  }
  evidence "counted again" {
    when    = length([for s in case.signals : s if contains(["detector.cyphortv3", "detector.protectwisev1", "detector.bit9"], s.source)]) > 1
    points  = factor.points * (length([for s in case.signals : s if contains(["detector.cyphortv3", "detector.protectwisev1", "detector.bit9"], s.source)]) - 1)
    because = "the same, once more for each further alert of one report"
  }
}
