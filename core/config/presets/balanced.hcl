# What is said of the evidence, and how bad the detectors find it.
factor "threat" {
  weight  = 0.8
  combine = "max"

  evidence "verdicts" {
    for_each = case.verdicts
    points   = each.value.score * each.value.confidence / 100
    because  = "${each.value.source} calls ${each.value.observable} ${each.value.disposition}"
  }
  evidence "detector" {
    points  = case.severity
    because = "reported at ${case.severity}"
    source  = join(", ", case.sources)
    at      = case.last_at
  }
}

# How much depends on the machine.
factor "machine" {
  weight  = 0.15
  combine = "max"

  evidence "criticality" {
    for_each = case.assets
    when     = each.value.subject
    points   = each.value.criticality
    because  = "${each.value.name} is rated ${each.value.criticality}"
  }
}

# How much the people may do.
factor "user" {
  weight  = 0.15
  combine = "max"

  evidence "privileged" {
    for_each = case.identities
    when     = each.value.subject && each.value.privileged
    points   = 100
    because  = "${each.value.name} has privileges"
  }
}

# Who and what was in earlier cases: as bad as those were, and more the more there
# were. A window's time lies between two cases of one value, so this is no repeat.
factor "history" {
  weight  = 0.1
  combine = "max"

  evidence "earlier cases" {
    for_each = case.history
    points   = min(100, each.value.severity * each.value.cases / 2)
    because  = "${each.value.observable} was in ${each.value.cases} earlier ${each.value.cases == 1 ? "case" : "cases"}, reported at up to ${each.value.severity}"
  }
}

# More than one source saw it.
factor "agreement" {
  weight  = 0.1
  combine = "max"

  evidence "sources" {
    when    = length(case.sources) > 1
    points  = 100
    because = "${length(case.sources)} sources reported it"
    source  = join(", ", case.sources)
    at      = case.last_at
  }
}
