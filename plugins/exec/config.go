package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

// programConfig is what the blocks of all kinds have.
type programConfig struct {
	Program     sdk.Path          `kelpie:"program,required" doc:"The executable, which may be a script with its #! line. Nobody but its owner and group may be able to change it." example:"/opt/kelpie/read.py"`
	Arguments   []string          `kelpie:"arguments" doc:"Given to the program as they are; no shell reads them. Everybody on the machine can see them." example:"[\"--site\", \"vienna\"]"`
	Environment map[string]string `kelpie:"environment" doc:"The program's environment, beside PATH and LANG. Nothing of Kelpie's own is in it." example:"{\"API\": \"https://api.example.org\"}"`
	Secrets     map[string]string `kelpie:"secrets,secret" doc:"Further variables of the environment, whose values are secrets."`
	TimeLimit   time.Duration     `kelpie:"time_limit" doc:"After this time the program is ended, with all that it started. Not for mode = \"stream\"." default:"1m"`
}

// detectorConfig is a detector block.
type detectorConfig struct {
	programConfig
	Mode    string        `kelpie:"mode" doc:"Run the program again and again, each time to its end, or once for as long as it lasts." default:"poll" oneof:"poll,stream"`
	Every   time.Duration `kelpie:"every" doc:"How long after the end of a run the next begins. Not for mode = \"stream\"." default:"1m"`
	Format  string        `kelpie:"format" doc:"What a line is: an event with id, time, title, severity, observables and so on, or any JSON object, taken as it is." default:"event" oneof:"event,raw"`
	IDField string        `kelpie:"id_field" doc:"With format = \"raw\": the source's own id of an event, names separated by dots." example:"alert.uuid"`
}

// enrichmentConfig is an enrichment block.
type enrichmentConfig struct {
	programConfig
	AtOnce int `kelpie:"at_once" doc:"How many of the program may run at once." default:"4"`
}

// actionConfig is an action block.
type actionConfig struct {
	programConfig
	AtOnce int  `kelpie:"at_once" doc:"How many of the program may run at once." default:"4"`
	DryRun bool `kelpie:"dry_run" doc:"The program understands dry_run and then changes nothing. Without it, it is not run at all where nothing may happen."`
}

// caseParameters are those of notify and ticket.
func caseParameters() any {
	return &struct {
		Notice  any    `kelpie:"notice" doc:"The case; Kelpie fills it." json:"notice,omitempty"`
		Subject string `kelpie:"subject" doc:"Instead of the case's title." example:"Please look at this machine" json:"subject,omitempty"`
		Text    string `kelpie:"text" doc:"What else is to be said." example:"You own the machine named below." json:"text,omitempty"`
	}{}
}

// runParameters are those of run.
func runParameters() any {
	return &struct {
		Name string `kelpie:"name" doc:"What is ordered, for a program that knows several orders." example:"collect_logs" json:"name,omitempty"`
		Data any    `kelpie:"data" doc:"What the program needs for it." example:"{\"hours\": 24}" json:"data,omitempty"`
	}{}
}

// containParameters are those of the verbs that contain.
func containParameters() any {
	return &struct {
		Data any `kelpie:"data" doc:"What the program needs for it." example:"{\"zone\": \"dmz\"}" json:"data,omitempty"`
	}{}
}

const (
	modeStream = "stream"
	formatRaw  = "raw"

	// minEvery keeps a typing error from loading the machine.
	minEvery = time.Second
	maxSlots = 64
)

// complaints are collected by the Validate of each kind.
type complaints []sdk.Diagnostic

func (c *complaints) add(summary, detail string, path ...string) {
	*c = append(*c, sdk.Diagnostic{Path: path, Summary: summary, Detail: detail})
}

// Validate complains about what no schema can say.
func (d *detector) Validate() []sdk.Diagnostic {
	var wrong complaints
	c := &d.config
	c.check(&wrong)
	if c.Every < minEvery {
		wrong.add("every is too short", "The shortest is "+minEvery.String()+`. For what is to be told at once, there is mode = "stream".`, "every")
	}
	if c.IDField != "" && c.Format != formatRaw {
		wrong.add("id_field is for raw events", `Write format = "raw", or let the program print the id as "id".`, "id_field")
	} else if c.IDField != "" && slices.Contains(strings.Split(c.IDField, "."), "") {
		wrong.add("id_field is no path", "Write names separated by dots, such as alert.uuid.", "id_field")
	}
	return wrong
}

// Validate complains about what no schema can say.
func (e *enrichment) Validate() []sdk.Diagnostic {
	var wrong complaints
	e.config.check(&wrong)
	checkSlots(e.config.AtOnce, &wrong)
	return wrong
}

// Validate complains about what no schema can say.
func (o *order) Validate() []sdk.Diagnostic {
	var wrong complaints
	o.config.check(&wrong)
	checkSlots(o.config.AtOnce, &wrong)
	return wrong
}

func checkSlots(n int, wrong *complaints) {
	if n < 1 || n > maxSlots {
		wrong.add(fmt.Sprintf("at_once must be between 1 and %d", maxSlots), "", "at_once")
	}
}

func (c *programConfig) check(wrong *complaints) {
	if err := checkProgram(string(c.Program)); err != nil {
		wrong.add("this program cannot be run", err.Error(), "program")
	}
	for i, argument := range c.Arguments {
		if strings.Contains(argument, "\x00") {
			wrong.add("no argument holds a null byte", "", "arguments", fmt.Sprint(i))
		}
	}
	for _, part := range []struct {
		name   string
		values map[string]string
	}{{"environment", c.Environment}, {"secrets", c.Secrets}} {
		for _, name := range slices.Sorted(maps.Keys(part.values)) {
			switch {
			case name == "" || strings.ContainsAny(name, "=\x00"):
				wrong.add("this is no name of a variable", `It is empty, or holds "=" or a null byte.`, part.name, name)
			case strings.Contains(part.values[name], "\x00"):
				wrong.add("no variable holds a null byte", "", part.name, name)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Secrets)) {
		if _, twice := c.Environment[name]; twice {
			wrong.add(name+" is in environment too", "Remove one of them.", "secrets", name)
		}
	}
	if c.TimeLimit <= 0 {
		wrong.add("time_limit must be longer than nothing", `Write time_limit = "1m".`, "time_limit")
	}
}

// environment of the program: its own alone.
func (c *programConfig) environment() []string {
	all := map[string]string{
		"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"LANG": "C.UTF-8",
	}
	maps.Copy(all, c.Environment)
	maps.Copy(all, c.Secrets)
	env := make([]string, 0, len(all))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		env = append(env, name+"="+all[name])
	}
	return env
}
