package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

// config is a detector block.
type config struct {
	Path   sdk.Path `kelpie:"path,required" doc:"The file, or a pattern of files (*, ? and [a-z]; no pattern crosses a /). Names of compressed files are passed over." example:"/var/log/suricata/eve.json"`
	Format string   `kelpie:"format" doc:"What a line is: a JSON object, or text that patterns take apart." default:"json" oneof:"json,text"`
	Follow bool     `kelpie:"follow" doc:"Go on when the end is reached. Under kelpie run --once every file is read to its end in either case." default:"true"`
	Start  string   `kelpie:"start" doc:"Where the files that are there at the very first start are read from. Later ones are read whole." default:"beginning" oneof:"beginning,end"`

	Patterns  []string `kelpie:"patterns" doc:"With format text: regular expressions (RE2) with named groups, tried in order. The groups that are not empty become a JSON object of texts." example:"[\"^(?P<time>\\\\S+) (?P<host>\\\\S+) (?P<message>.*)$\"]"`
	Unmatched string   `kelpie:"unmatched" doc:"With format text: a line that no pattern matches is set aside with its reason (reject), passed over (skip), or kept as an object with the line as its message (keep)." default:"reject" oneof:"reject,skip,keep"`

	IDField    string `kelpie:"id_field" doc:"The source's own id of an event: names separated by dots, or a group. Without it, or where an event has none, the id is the place in the file." example:"transaction.unique_id"`
	TimeField  string `kelpie:"time_field" doc:"Where an event says when it happened: names separated by dots, or a group. What a pipeline's map says counts more." example:"transaction.time_stamp"`
	TimeFormat string `kelpie:"time_format" doc:"How the time is written: rfc3339, unix, unixms, unixus, unixns, asctime, syslog, rfc1123, clf, or a layout of Go such as 2006-01-02." default:"rfc3339"`
	Timezone   string `kelpie:"timezone" doc:"The time zone of times that name none." default:"UTC" example:"Europe/Berlin"`

	RepeatedKeys string `kelpie:"repeated_keys" doc:"A JSON object that has a name twice is set aside (reject), or rewritten with the values joined in a list (join)." default:"reject" oneof:"reject,join"`
	InvalidUTF8  string `kelpie:"invalid_utf8" doc:"A line that is not valid UTF-8 is set aside (reject), or each wrong byte becomes U+FFFD (replace), or the line is read as Latin-1 (latin1)." default:"reject" oneof:"reject,replace,latin1"`

	Interval time.Duration `kelpie:"interval" doc:"How often the files are looked at." default:"250ms"`
}

const (
	formatText = "text"

	unmatchedSkip = "skip"
	unmatchedKeep = "keep"

	reject  = "reject"
	join    = "join"
	replace = "replace"
	latin1  = "latin1"

	startAtEnd = "end"
)

// minInterval keeps a typing error from loading the machine.
const minInterval = 10 * time.Millisecond

// compressed are endings of names that are passed over: what is in them was read before.
var compressed = []string{".gz", ".bz2", ".xz", ".zst", ".lz4", ".lzma", ".z", ".zip", ".7z"}

func isCompressed(name string) bool {
	return slices.Contains(compressed, strings.ToLower(filepath.Ext(name)))
}

func isPattern(path string) bool { return strings.ContainsAny(path, `*?[\`) }

// Validate complains about what no schema can say.
func (f *file) Validate() []sdk.Diagnostic {
	var wrong []sdk.Diagnostic
	complain := func(summary, detail string, path ...string) {
		wrong = append(wrong, sdk.Diagnostic{Path: path, Summary: summary, Detail: detail})
	}
	c := &f.config
	if d := c.checkPath(); d != nil {
		wrong = append(wrong, *d)
	}
	if c.Format == formatText && len(c.Patterns) == 0 {
		complain("text needs patterns", `Without any, write patterns = ["^(?P<message>.*)$"] to take each line as it is.`, "format")
	}
	if c.Format != formatText && len(c.Patterns) > 0 {
		complain("patterns are for text", `Write format = "text", or leave them out.`, "patterns")
	}
	for i, text := range c.Patterns {
		if _, err := compilePattern(text); err != nil {
			complain("this pattern cannot be used", err.Error(), "patterns", strconv.Itoa(i))
		}
	}
	if c.Format == formatText && c.RepeatedKeys == join {
		complain("repeated_keys is for JSON", "Leave it out.", "repeated_keys")
	}
	for name, field := range map[string]string{"id_field": c.IDField, "time_field": c.TimeField} {
		if c.Format == formatText && field != "" && !c.hasGroup(field) {
			complain(fmt.Sprintf("no pattern has a group %q", field), "Name a group (?P<"+field+">…) in one of the patterns.", name)
		} else if field != "" && slices.Contains(strings.Split(field, "."), "") {
			complain(name+" is no path", "Write names separated by dots, such as transaction.time_stamp.", name)
		}
	}
	if _, err := newClock(c.TimeFormat, c.Timezone); err != nil {
		name := "time_format"
		if errors.Is(err, errZone) {
			name = "timezone"
		}
		complain(err.Error(), "", name)
	}
	if c.Interval < minInterval {
		complain("interval is too short", "The shortest is "+minInterval.String()+".", "interval")
	}
	if c.Start == startAtEnd && !c.Follow {
		complain("nothing would ever be read", `With follow = false, start must be "beginning".`, "start")
	}
	return wrong
}

// checkPath warns of a file that is not there yet: it may be a typing error.
func (c *config) checkPath() *sdk.Diagnostic {
	path := string(c.Path)
	at := []string{"path"}
	switch {
	case path == "":
		return &sdk.Diagnostic{Path: at, Summary: "path is empty"}
	case !filepath.IsAbs(path):
		return &sdk.Diagnostic{Path: at, Summary: "path is not absolute", Detail: "A plugin runs in a folder of its own: the path must begin with /."}
	case strings.Contains(path, "**"):
		return &sdk.Diagnostic{Path: at, Summary: "** is not understood", Detail: "A pattern matches within one folder; write one * for each folder, as in /var/log/*/*.json."}
	case isCompressed(path):
		return &sdk.Diagnostic{Path: at, Summary: "compressed files are not read", Detail: "Decompress the file first."}
	}
	if _, err := filepath.Match(path, ""); err != nil {
		return &sdk.Diagnostic{Path: at, Summary: "this is no pattern", Detail: `A "[" has no "]", or a "\" stands at the end.`}
	}
	info, err := os.Stat(path)
	switch {
	case isPattern(path):
	case errors.Is(err, fs.ErrNotExist):
		return &sdk.Diagnostic{Path: at, Summary: "there is no such file yet", Detail: path + " is read as soon as it is there.", Warning: true}
	case err == nil && info.IsDir():
		return &sdk.Diagnostic{Path: at, Summary: "this is a folder", Detail: "Name the files in it: " + strings.TrimRight(path, "/") + "/*.json"}
	}
	return nil
}

func (c *config) hasGroup(name string) bool {
	return slices.ContainsFunc(c.Patterns, func(text string) bool {
		p, err := regexp.Compile(text)
		return err == nil && p.SubexpIndex(name) >= 0
	})
}
