package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/kelpie-sec/kelpie/core/host"
)

// permissions that a plugin declares, as they stand in its schema.
type permissions struct {
	Read    []string `json:"read,omitempty"`
	Write   []string `json:"write,omitempty"`
	Network []string `json:"network,omitempty"`
}

// printAsked says what a plugin that does not run would ask for.
func printAsked(w io.Writer, asked permissions) {
	text := strings.Join(slices.DeleteFunc([]string{
		enumerated("to read", asked.Read), enumerated("to write", asked.Write), enumerated("for network", asked.Network),
	}, func(part string) bool { return part == "" }), "; ")
	if text == "" {
		text = "for nothing of this machine"
	}
	indented(w, "  ", "asks "+text)
}

// printConfined says what a process may touch, and what of that does not hold.
func printConfined(w io.Writer, c host.Confined) {
	const first = "    "
	if c.Off {
		indented(w, first, "NOT CONFINED: the configuration says confine = false")
		return
	}
	indented(w, first, "may read "+orNothing(c.Read))
	if len(c.Write) > 0 {
		indented(w, first, "may write "+strings.Join(c.Write, ", "))
	}
	for _, n := range []struct {
		may   string
		ports []string
	}{{"may connect to", c.Connect}, {"may listen on", c.Listen}} {
		if len(n.ports) > 0 {
			indented(w, first, n.may+" "+tcp(n.ports))
		}
	}
	if len(c.Connect)+len(c.Listen) == 0 {
		indented(w, first, "may use no TCP port")
	}
	if c.User != "" {
		indented(w, first, "runs as user "+c.User)
	}
	if text := limited(c.Limits); text != "" {
		indented(w, first, "has at most "+text)
	}
	for _, folder := range c.Narrowed {
		indented(w, first, fmt.Sprintf("of %s it has only files that were there when it was started: that folder holds what is not for plugins", folder))
	}
	for _, lack := range c.Lacks {
		indented(w, first, "NOT ENFORCED: "+lack)
	}
}

func enumerated(what string, names []string) string {
	if len(names) == 0 {
		return ""
	}
	return what + " " + strings.Join(names, ", ")
}

func orNothing(paths []string) string {
	if len(paths) == 0 {
		return "nothing but what programs need"
	}
	return strings.Join(paths, ", ")
}

func tcp(ports []string) string {
	switch {
	case slices.Contains(ports, "*"):
		return "every TCP port"
	case len(ports) == 1:
		return "TCP port " + ports[0]
	}
	return "TCP ports " + strings.Join(ports, ", ")
}

func limited(l host.Limits) string {
	var parts []string
	if l.Memory > 0 {
		parts = append(parts, fmt.Sprintf("%d MiB of memory", l.Memory>>20))
	}
	if l.Processes > 0 {
		parts = append(parts, fmt.Sprintf("%d processes and threads", l.Processes))
	}
	if l.Files > 0 {
		parts = append(parts, fmt.Sprintf("%d open files", l.Files))
	}
	if l.CPU > 0 {
		parts = append(parts, fmt.Sprintf("%s of CPU time", l.CPU))
	}
	return strings.Join(parts, ", ")
}
