package host

import (
	"slices"
	"time"
)

// Grant is what a plugin's process may touch beyond what every one may.
type Grant struct {
	// Off: whatever Kelpie's account may.
	Off bool
	// Read and Write are files and folders, Connect and Listen TCP ports, "*" for all.
	Read, Write, Connect, Listen []string
	Limits                       Limits
}

// GrantOf is what instances of one plugin are granted together, as in one process, and
// without their state folders and users. One that is not confined frees all.
func GrantOf(instances []Instance) Grant {
	var a allowance
	g := Grant{Limits: DefaultLimits()}
	g.Limits.CPU = time.Minute
	for _, i := range instances {
		needs, _ := i.need("/")
		needs.state = nil
		a = a.with(needs)
		g.Off = g.Off || i.Confinement.Off
		if !i.Confinement.Off {
			g.Limits = i.Confinement.Limits
		}
	}
	g.Read, g.Write, g.Connect, g.Listen = a.read, a.write, a.connect, a.listen
	return g
}

// confinement of a process whose own folder is the one that it works in.
func (g Grant) confinement(private []string) *confinement {
	return &confinement{
		off: g.Off, becomes: true, private: slices.Clone(private), limits: g.Limits,
		may: allowance{read: g.Read, write: g.Write, connect: g.Connect, listen: g.Listen},
	}
}

// Lacking tells what of a confinement does not hold on this machine and lets a plugin reach
// what is not for it, for people.
func Lacking() []string {
	_, grave := askKernel().lacks(&confinement{})
	return grave
}
