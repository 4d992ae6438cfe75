package sdk

// Observable is a typed value. Kind is one of Kinds; Value is canonical when it
// comes from Canonical.
type Observable struct {
	Kind  string
	Value string
	Role  Role
}

// Role of an observable in an event.
type Role string

// The roles.
const (
	NoRole    Role = ""
	Subject   Role = "subject"   // who is affected
	Indicator Role = "indicator" // evidence
)
