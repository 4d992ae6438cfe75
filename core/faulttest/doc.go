// Package faulttest is the fault harness. A World is a folder in which the real program
// runs, built so that it can be killed at named points and its clock moved (package
// fault), among fakes that are real plugins: feeds that grow, late, in disorder and
// twice; lookups that are slow, hang, die and lie; actions that lose their answer after
// they have acted, act late, or die. All of it is made from a seed, and so is the
// Schedule of faults that is let loose on it. When it has come to rest it must be as the
// Reference says, which knows what the feeds offered and nothing of faults: every event
// in the log and in what "kelpie ledger" prints, every case with its members and its
// score, what each rule over several has reported, of which events, each step taken once,
// or unknown and before a person.
//
//	make torture            the aimed kills, and a hundred seeds
//	make torture SEED=42    one seed again, with the same schedule and decisions; what a
//	                        fault meets depends on the machine's timing as well
//
// A fault that found no work proves nothing, and is not counted.
//
// # A new fault
//
// Write a type with two methods in a file of its own, and name it in Faults:
//
//	// coreStalled holds the core for a second.
//	type coreStalled struct{}
//
//	func (coreStalled) Name() string { return "core stalled" }
//
//	func (coreStalled) Apply(w *World, r *rand.Rand) (Work, error) {
//		work, err := w.Press(w.Work) // offers events until something is under way
//		if err != nil {
//			return work, err
//		}
//		return work, w.hold(w.Pid(), time.Second)
//	}
//
// A new way in which a product behind a plugin misbehaves is a Manner of the FarEnd, a
// new lie of a lookup a far.Lie; a new way to hand over a batch is a far.Play; a new
// place to be killed at is a point in package fault; a new kind of source is a Feed.
package faulttest
