# Web attacks, as the audit log of ModSecurity 3 with the OWASP core rule set shows them.

input "detector" "audit" {
  description = "The audit log of ModSecurity 3, one JSON object a request, also of requests that no rule minded."
}

input "response" "tell" {
  description = "Tells who looks after the web server."
}

variable "ours" {
  type        = "list"
  default     = []
  description = "Networks of one's own scanners, which attack on purpose."
}

variable "classes" {
  type        = "number"
  default     = 3
  description = "From how many classes of attack on somebody is working through them."
}

variable "blocked" {
  type        = "number"
  default     = 10
  description = "How many blocked requests of one address within ten minutes are meant."
}

# What a tool calls itself, by the word in its user agent.
table "tools" {
  path = "tools.csv"
  key  = "word"
}

# Requests of others than one's own scanners. They only feed the rules below: a request
# is no signal by itself, whatever the firewall thought of it.
pipeline "requests" {
  from = [detector.audit]
  when = !coalesce(cidr_contains(var.ours, event.raw.transaction.client_ip), false)

  map {
    title      = "Request to ${event.raw.transaction.request.uri}"
    time       = event.raw.transaction.time_stamp
    severity   = 30
    stopped    = event.raw.transaction.response.http_code == 403
    subjects   = { ip = event.raw.transaction.host_ip }
    indicators = { ip = event.raw.transaction.client_ip }
  }
}

# Those that the firewall minded.
pipeline "minded" {
  from = [detector.audit]
  when = length(event.raw.transaction.messages) > 0 && !coalesce(cidr_contains(var.ours, event.raw.transaction.client_ip), false)

  map {
    title      = event.raw.transaction.messages[0].message
    time       = event.raw.transaction.time_stamp
    severity   = lookup({ "2" = 60, "4" = 20 }, event.raw.transaction.messages[0].details.severity, 30)
    stopped    = event.raw.transaction.response.http_code == 403
    subjects   = { ip = event.raw.transaction.host_ip }
    indicators = { ip = event.raw.transaction.client_ip }
  }
}
