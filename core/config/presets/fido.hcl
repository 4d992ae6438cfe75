# The matrix that Netflix published with FIDO, read as it was meant: three plain
# sums, added without weights and capped at 100. What it took from vendors by name
# is taken from verdicts here, and its history of hashes and hosts is left out.
factor "threat" {
  weight  = 1
  combine = "sum"

  evidence "feeds" {
    for_each = case.verdicts
    when     = each.value.disposition == "malicious" || each.value.disposition == "suspicious"
    points   = each.value.score * each.value.confidence / 200
    because  = "${each.value.source} calls ${each.value.observable} ${each.value.disposition}"
  }
  evidence "detector" {
    points  = case.severity * 0.4
    because = "reported at ${case.severity}"
  }
}

factor "machine" {
  weight  = 1
  combine = "sum"

  evidence "critical patches" {
    for_each = case.assets
    when     = each.value.subject && each.value.patches.critical >= 5
    points   = 20
    because  = "${each.value.name} misses ${each.value.patches.critical} critical patches"
  }
  evidence "high patches" {
    for_each = case.assets
    when     = each.value.subject && each.value.patches.high >= 10
    points   = 5
    because  = "${each.value.name} misses ${each.value.patches.high} important patches"
  }
  evidence "protection not installed" {
    for_each = case.assets
    when     = each.value.subject && !each.value.protection.installed
    points   = 50
    because  = "${each.value.name} has no protection"
  }
  evidence "protection not running" {
    for_each = case.assets
    when     = each.value.subject && !each.value.protection.running
    points   = 50
    because  = "the protection of ${each.value.name} does not run"
  }
  evidence "protection not current" {
    for_each = case.assets
    when     = each.value.subject && !each.value.protection.current
    points   = 15
    because  = "the protection of ${each.value.name} is out of date"
  }
  evidence "payment data" {
    for_each = case.assets
    when     = each.value.subject && contains(each.value.tags, "pci")
    points   = 50
    because  = "${each.value.name} handles payment data"
  }
}

factor "user" {
  weight  = 1
  combine = "sum"

  evidence "title" {
    for_each = case.identities
    when     = each.value.subject && each.value.privileged
    points   = 25
    because  = "${each.value.name} has privileges"
  }
  evidence "department" {
    for_each = case.identities
    when     = each.value.subject && contains(["finance", "legal", "executive"], lower(each.value.department))
    points   = 30
    because  = "${each.value.name} works in ${each.value.department}"
  }
}
