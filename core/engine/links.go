package engine

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/core/link"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/respond"
	"github.com/kelpie-sec/kelpie/core/web"
	"github.com/kelpie-sec/kelpie/sdk"
)

// linkLife is how long a link is good beyond the time that there is for an answer: what
// became of the question can be looked at until then. Whether it can still be answered is
// the question's to say.
const linkLife = 7 * 24 * time.Hour

// links adds to what an intent tells where its reader answers, as it goes out: the store,
// the log and the audit never have it. What the connector says of it has it no more.
func (f *flow) links(in model.Intent) (parameters []byte, hide func(string) string) {
	settings := f.changes.generation().Config.Web
	if in.Verb != respond.Notify || in.DryRun || in.Preview || settings.Listen == "" {
		return in.Parameters, nil
	}
	all, n, ok := noticeOf(in.Parameters)
	if !ok || in.Question == "" && !asksAny(n.Gathered) {
		return in.Parameters, nil
	}
	c := link.Claim{Kind: link.Digest, ID: in.ID, Address: in.Target.Value}
	c.Expires = f.k.clock.now().Add(linkLife + time.Duration(max(n.Wait, 0))*time.Second).Truncate(time.Second)
	if in.Question != "" {
		c.Kind, c.ID = link.Question, in.Question
		names := make([]string, len(n.Options))
		for i, o := range n.Options {
			names[i] = o.Name
		}
		c.Options = link.Hash(names)
	}
	token, err := f.page.web.Key.Sign(c)
	if err != nil {
		f.logger.Error("a message goes out without links, and is answered by the command line alone", "intent", in.ID, "error", err)
		return in.Parameters, nil
	}
	fillLinks(&n, web.Address(settings.PublicURL, token))
	text, err := json.Marshal(n)
	if err != nil {
		return in.Parameters, nil
	}
	all[noticeName] = text
	if text, err = json.Marshal(all); err != nil {
		return in.Parameters, nil
	}
	return text, func(said string) string { return strings.ReplaceAll(said, token, "…") }
}

func asksAny(cases []sdk.NoticeCase) bool {
	for _, c := range cases {
		if c.Question != "" {
			return true
		}
	}
	return false
}

// fillLinks writes the links of a page into a notice.
func fillLinks(n *sdk.Notice, page string) {
	n.Answer = page
	for i := range n.Options {
		n.Options[i].Link = web.Chosen(page, n.Options[i].Name)
	}
	for i := range n.Gathered {
		if c := &n.Gathered[i]; c.Question != "" {
			c.Answer = page + "#" + c.Question
		}
	}
}
