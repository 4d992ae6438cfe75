# The matrix that Netflix published with FIDO, as it was meant: threat, machine and user,
# added without weights and capped at 100. It has the values that came with FIDO, on the
# scale of 0 to 100, and none of the faults of its code; docs/score.md lists them, and
# what is read. The preset "fido_compat" has them all.
inputs = {
  titles      = []
  departments = ["finance", "legal", "executive"]
  title       = 25
  department  = 30
  pci         = "pci" # the tag of machines that handle payment data

  # 0: off.
  critical_patches = 5
  high_patches     = 10
  low_patches      = 0
}

round = 5

factor "threat" {
  weight  = 1
  combine = "sum"
  round   = 5

  # The larger of the rule for trojans and the one for all. Each answer counts, and no
  # detector is left out.
  evidence "files" {
    for_each = case.verdicts
    when     = each.value.kind == "hash" && max(each.value.details.positives, length([for r in each.value.details.results : r if contains(lower(r), "troj")])) >= 3
    points   = min(100, max(1.5 * each.value.details.positives, 3 * length([for r in each.value.details.results : r if contains(lower(r), "troj")])))
    because  = "${each.value.details.positives} engines find ${each.value.observable} bad"
  }
  evidence "urls" {
    for_each = case.verdicts
    when     = each.value.kind == "url" && each.value.details.positives >= 3
    points   = min(100, 1.5 * each.value.details.positives)
    because  = "${each.value.details.positives} engines find ${each.value.observable} bad"
  }

  # The bands of the rate, in which more detections never count less. However long the
  # lists are, they give no more than 60.
  evidence "addresses" {
    for_each = case.verdicts
    when     = each.value.kind == "ip" && (has(each.value.details.detected_urls) || has(each.value.details.detected_communicating_samples) || has(each.value.details.detected_downloaded_samples))
    points = min(60, sum(
      0.45 * sum(0, [for s in each.value.details.detected_downloaded_samples : s.positives >= 20 ? max(12.35, s.positives * 0.5) : s.positives >= 10 ? max(6.75, s.positives * 0.65) : s.positives >= 3 ? s.positives * 0.75 : 0]),
      0.2 * sum(0, [for s in each.value.details.detected_communicating_samples : s.positives >= 20 ? max(14.25, s.positives * 0.65) : s.positives >= 10 ? max(9, s.positives * 0.75) : s.positives >= 3 ? s.positives : 0]),
      0.45 * sum(0, [for s in each.value.details.detected_urls : s.positives >= 20 ? max(11.4, s.positives * 0.5) : s.positives >= 5 ? s.positives * 0.6 : s.positives >= 3 ? s.positives * 0.75 : 0])
    ))
    because = "bad URLs and files are known at ${each.value.observable}"
  }

  # The mean with its fraction, as far as the source is sure of it.
  evidence "samples" {
    for_each = case.verdicts
    when     = length(each.value.details.scores) > 0
    points   = min(100, max(0, sum(each.value.details.scores) / length(each.value.details.scores) * each.value.confidence / 100))
    because  = "samples with ${each.value.observable} score ${round(sum(each.value.details.scores) / length(each.value.details.scores), 1)} on average"
  }

  # What reaches a bound is in it.
  evidence "reputation" {
    for_each = case.verdicts
    when     = contains(["malware host", "malware distribution", "malware domain", "malware ip", "c and c", "c&c"], lower(each.value.details.activity))
    points = (
      (each.value.details.risk >= 8 ? 2 : each.value.details.risk >= 5 ? 1 : 0.5)
      * (each.value.details.reliability >= 8 ? 5 : each.value.details.reliability >= 5 ? 3 : 2)
    )
    because = "${each.value.observable} is known as ${each.value.details.activity}, risk ${each.value.details.risk}, reliability ${each.value.details.reliability}"
  }

  # By both names that a half success has.
  evidence "antivirus" {
    for_each = case.verdicts
    when     = has(each.value.details.action)
    points = (
      lookup({ "none" = 4, "partially removed" = 1, "partially cleaned" = 1 }, lower(each.value.details.action))
      + (
        starts_with(lower(each.value.details.threat), "troj/")
        ? lookup({ "cleanable" = 0, "restart required" = 0, "cleanup failed" = 2, "not cleanable" = 4 }, lower(each.value.details.status))
        : lookup({ "cleanable" = 0, "restart required" = 0, "cleanup failed" = 0.5, "not cleanable" = 2 }, lower(each.value.details.status))
      )
    )
    because = "${each.value.details.threat} was found: action ${each.value.details.action}, ${each.value.details.status}"
  }

  # Sources that say no more than how bad it is.
  evidence "verdicts" {
    for_each = case.verdicts
    when = (
      (each.value.disposition == "malicious" || each.value.disposition == "suspicious")
      && !has(coalesce(each.value.details.positives, each.value.details.scores, each.value.details.activity, each.value.details.action, each.value.details.detected_urls, each.value.details.detected_communicating_samples, each.value.details.detected_downloaded_samples))
    )
    points  = each.value.score * each.value.confidence / 200
    because = "${each.value.source} calls ${each.value.observable} ${each.value.disposition}"
  }
  evidence "detector" {
    when    = case.severity > 0
    points  = case.severity * 0.4
    because = "reported at ${case.severity}"
    source  = join(", ", case.sources)
    at      = case.last_at
  }

  # Every value counts, each by its own past.
  evidence "seen before" {
    for_each = case.history
    when     = !each.value.subject && contains(["hash", "url", "ip"], each.value.kind)
    points   = each.value.cases >= 5 ? 2 : 1
    because  = "${each.value.observable} was in ${each.value.cases} earlier ${each.value.cases == 1 ? "case" : "cases"}"
  }

  # On the scale of 0 to 100, and never less than without.
  evidence "alerted in the last twelve hours" {
    when = (
      min([for h in case.history : time_diff(case.first_at, h.at) if h.kind == "host" && h.subject]) > 14400
      && min([for h in case.history : time_diff(case.first_at, h.at) if h.kind == "host" && h.subject]) < 43200
    )
    points  = factor.points > 50 ? max(0, 75 - factor.points) : 15
    because = "the host alerted in the last twelve hours"
  }
  evidence "alerted before" {
    when    = min([for h in case.history : time_diff(case.first_at, h.at) if h.kind == "host" && h.subject]) >= 43200
    points  = factor.points > 50 ? max(0, 100 - factor.points) : 25
    because = "the host alerted before"
  }
}

# What is not known counts nothing: a machine that is in no inventory is no worse for it,
# and the score says that it is not known.
factor "machine" {
  weight  = 1
  combine = "sum"
  round   = 5

  evidence "critical patches" {
    for_each = case.assets
    when     = each.value.subject && input.critical_patches > 0 && each.value.patches.critical >= input.critical_patches
    points   = 20
    because  = "${each.value.name} misses ${each.value.patches.critical} critical patches"
  }
  evidence "high patches" {
    for_each = case.assets
    when     = each.value.subject && input.high_patches > 0 && each.value.patches.high >= input.high_patches
    points   = 5
    because  = "${each.value.name} misses ${each.value.patches.high} important patches"
  }
  evidence "low patches" {
    for_each = case.assets
    when     = each.value.subject && input.low_patches > 0 && each.value.patches.low >= input.low_patches
    points   = 1
    because  = "${each.value.name} misses ${each.value.patches.low} lesser patches"
  }
  evidence "protection not installed" {
    for_each = case.assets
    when     = each.value.subject && !each.value.protection.installed
    points   = 50
    because  = "${each.value.name} has no protection"
  }
  evidence "protection not running" {
    for_each = case.assets
    when     = each.value.subject && each.value.protection.installed != false && !each.value.protection.running
    points   = 50
    because  = "the protection of ${each.value.name} does not run"
  }
  evidence "protection not current" {
    for_each = case.assets
    when     = each.value.subject && each.value.protection.installed != false && !each.value.protection.current
    points   = 15
    because  = "the protection of ${each.value.name} is out of date"
  }
  evidence "payment data" {
    for_each = case.assets
    when     = each.value.subject && contains(each.value.tags, input.pci)
    points   = 50
    because  = "${each.value.name} handles payment data"
  }
}

factor "user" {
  weight  = 1
  combine = "sum"
  round   = 5

  evidence "title" {
    for_each = case.identities
    when     = each.value.subject && (each.value.privileged || contains([for t in input.titles : lower(t)], lower(each.value.title)))
    points   = input.title
    because  = each.value.privileged ? "${each.value.name} has privileges" : "${each.value.name} is ${each.value.title}"
  }
  evidence "department" {
    for_each = case.identities
    when     = each.value.subject && contains([for d in input.departments : lower(d)], lower(each.value.department))
    points   = input.department
    because  = "${each.value.name} works in ${each.value.department}"
  }
}
