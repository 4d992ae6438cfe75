package main

import "time"

// seen is all that the service has seen, oldest first.
func seen() []alert {
	at := func(minute int) time.Time { return time.Date(2026, 11, 22, 12, minute, 0, 0, time.UTC) }
	return []alert{
		{"a-1", at(1), "Port scan", "low", "203.0.113.10", "10.0.0.11"},
		{"a-2", at(4), "Password guessing", "medium", "198.51.100.23", "10.0.0.12"},
		{"a-3", at(9), "Call to a command server", "high", "203.0.113.10", "10.0.0.11"},
		{"a-4", at(15), "Port scan", "low", "192.0.2.77", "10.0.0.13"},
		{"a-5", at(16), "Known exploit in a request", "high", "198.51.100.23", "10.0.0.12"},
	}
}

// reputations are the addresses that somebody has reported.
func reputations() []reputation {
	return []reputation{
		{"203.0.113.10", 95, "command server", 41},
		{"198.51.100.23", 60, "scanner", 7},
		{"192.0.2.1", 0, "search engine", 0},
	}
}
