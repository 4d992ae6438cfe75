# New administrators, as Linux's own tools for accounts write them to the log.

input "detector" "accounts" {
  description = "Changes of accounts: tool (useradd, usermod or gpasswd), user, uid or group, host and time in each event; events without a tool are left out."
}

input "response" "tell" {
  description = "Tells who looks after the machines."
}

variable "expected" {
  type        = "list"
  default     = []
  description = "Hosts on which administrators are made all day, such as a lab's."
}

# Groups whose members can become root, and how.
table "groups" {
  path = "groups.csv"
  key  = "group"
}

template "change" {
  when = has(event.raw.tool) && !coalesce(contains(var.expected, event.raw.host), false)

  map {
    time     = event.raw.time
    severity = 40
    subjects = { host = event.raw.host, user = event.raw.user }
  }
}

pipeline "created" {
  from = [detector.accounts]
  use  = template.change
  when = has(event.raw.uid)

  map {
    title = "Account ${event.raw.user} was made on ${event.raw.host}"
  }
}

pipeline "memberships" {
  from = [detector.accounts]
  use  = template.change
  when = has(event.raw.group)

  map {
    title = "${event.raw.user} joined ${event.raw.group} on ${event.raw.host}"
  }
}
