package fault

// The points, in the order in which an alert passes them.
const (
	BatchReceived  = "batch_received"  // a plugin's batch is here, the log does not have it
	BatchLogged    = "batch_logged"    // the log has it, the plugin does not know
	EventsMatched  = "events_matched"  // EVENTS was read, INPUTS does not have the result
	InputsLogged   = "inputs_logged"   // INPUTS has it, the store does not
	AttemptClaimed = "attempt_claimed" // the journal has the claim, nobody was called
	ActionAnswered = "action_answered" // the action was called, the outcome is not written
)

// Points lists them all.
func Points() []string {
	return []string{BatchReceived, BatchLogged, EventsMatched, InputsLogged, AttemptClaimed, ActionAnswered}
}
