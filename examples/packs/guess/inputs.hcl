# Guessed passwords. The pack reads log-ins of any kind whose events have these fields.

input "detector" "logins" {
  description = "Log-ins: outcome (\"Accepted\" or \"Failed\"), user, src_ip, host and time in each event; what has another outcome is left out."
}

input "response" "tell" {
  description = "Tells who looks after accounts."
}

variable "failures" {
  type        = "number"
  default     = 8
  description = "How many failures from one address are guessing."
}

variable "users" {
  type        = "number"
  default     = 4
  description = "How many users that one address fails for are spraying."
}

template "login" {
  map {
    title      = "${event.raw.outcome} log-in of ${event.raw.user}"
    time       = event.raw.time
    severity   = 25
    stopped    = event.raw.outcome != "Accepted"
    subjects   = { host = event.raw.host }
    indicators = { ip = event.raw.src_ip }
  }
}

pipeline "failed" {
  from = [detector.logins]
  use  = template.login
  when = event.raw.outcome == "Failed"
}

# Whose password fits is affected; a name that was only tried says nothing about its owner.
pipeline "accepted" {
  from = [detector.logins]
  use  = template.login
  when = event.raw.outcome == "Accepted"

  map {
    subjects = { host = event.raw.host, user = event.raw.user }
  }
}
