package config

import (
	"slices"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/plan"
)

// language is every block that a configuration may hold at its top.
func language() bodyType {
	return bodyType{blocks: []blockType{
		kelpieBlock(), caseBlock(), variableBlock(), localsBlock(), pluginBlock(), publisherBlock(),
		connectorBlock("connection", "Address, credentials and quota, shared by the connectors of one product.", nil),
		connectorBlock("detector", "A source of events.", nil),
		connectorBlock("enrichment", "A source of answers about observables.", nil),
		connectorBlock("action", "What can be done, and by whom.", nil),
		templateBlock(), pipelineBlock(), ignoreBlock(), ruleBlock(), tableBlock(), packBlock(), moduleBlock(), inputBlock(),
		scoreBlock(), responseBlock(), textBlock(), routeBlock(), scheduleBlock(), holdBlock(), userBlock(), protectBlock(), movedBlock(),
	}}
}

func kelpieBlock() blockType {
	return blockType{name: "kelpie", doc: "Kelpie itself.", body: bodyType{
		attributes: []attribute{
			text("data_dir", "Folder for everything that Kelpie keeps. A relative one is below the folder that kelpie is started in.").standard(`"data"`),
			text("plugin_dir", "Folder with the plugins' executables.").standard(`"bin/plugins"`),
			text("secrets_dir", "Folder with a file for each secret, named as secret() names it.").standard(`"secrets"`),
			text("signatures", "Whether every plugin must have a publisher, who has signed it. One with a publisher must be signed whatever stands here.").oneOf(Required, Optional).standard(`"optional"`),
			text("actions", "How far actions go: \"off\" plans nothing, \"dry_run\" plans and asks and lets nothing leave, \"on\" acts.").oneOf("off", "dry_run", "on").standard(`"dry_run"`),
			text("sync", "When the log reaches the disk: \"always\" before a source is told so, \"interval\" at times, so that a power cut may lose the latest.").oneOf("always", "interval").standard(`"always"`),
			duration("sync_interval", "How often, with sync = \"interval\".").standard(`"2s"`),
			text("reserve", "Space on the disk below which nothing is taken in, such as \"2GiB\". By default the larger of 1 GiB and 5 % of the disk."),
			duration("keep", "How long events stay in the log that nobody needs any more.").standard(`"7d"`),
			text("listen", "Address of the page where people answer, such as \"0.0.0.0:8443\". It needs public_url and, unless only this machine reaches it, tls. Without it people answer by the command line."),
			text("public_url", "Where people reach that page, such as \"https://kelpie.example.org\": links begin with it."),
		},
		blocks: []blockType{
			tlsBlock(),
			{name: "organisation", doc: "What is ours, and so never sent to an enrichment that is not internal.", body: bodyType{attributes: []attribute{
				texts("networks", "Networks, such as \"10.0.0.0/8\"."),
				texts("domains", "Domains with all below them."),
			}}},
			{name: "limit", labels: []string{"verb"}, many: true, doc: "The most that is done of a verb, over all responses.", body: bodyType{attributes: []attribute{
				integer("per_hour", "How often in any hour.").must(),
			}}},
			{name: "stream", labels: []string{"name"}, many: true, doc: "Room for a part of the log: \"events\", \"inputs\" or \"rejected\".", body: bodyType{attributes: []attribute{
				text("size", "The most that it may hold, such as \"32GiB\"."),
				text("per_source", "Of \"rejected\": the most for one source."),
			}}},
			{name: "memory", doc: "What is kept at hand of cases; what is beyond it is read from the database when something comes for it.", body: bodyType{attributes: []attribute{
				integer("signals", "How many signals.").standard("50000"),
				integer("values", "How many values of signals and answers.").standard("100000"),
				integer("steps", "How many steps.").standard("10000"),
				text("answers", "How much of what lookups have said, such as \"64MiB\".").standard(`"32MiB"`),
			}}},
		},
	}}
}

func caseBlock() blockType {
	return blockType{name: "case", doc: "What makes signals one case.", body: bodyType{attributes: []attribute{
		duration("window", "Signals that share a value no further apart than this are one case.").standard(`"24h"`),
		duration("lateness", "How far behind the newest event of its source an event may be.").standard(`"10m"`),
		texts("never_join", "Values that make no case, as \"ip:10.0.0.1\"; also all of a network, as \"ip:10.0.0.0/24\", and with \"*\" for any text, as \"domain:*.cdn.example\"."),
		integer("common", "A value that joins more signals than this is proposed by `kelpie case common`.").standard("500"),
		integer("most", "How many signals one case may have: what comes beyond begins another.").standard("50000"),
		duration("lease", "How far from when an internal enrichment saw an address it is still taken to be the same machine's.").standard(`"24h"`),
		text("repeat", "How often people are told of the same subject: `always` for each case anew; `fido` within 30 minutes only if it is worse.").oneOf(caseRepeats()...).standard(`"always"`),
	}}}
}

func variableBlock() blockType {
	return blockType{name: "variable", labels: []string{"name"}, many: true, doc: "A value that is given from outside: by --var name=value, by KELPIE_VAR_NAME, or else its default.", body: bodyType{attributes: []attribute{
		text("type", "What it must be.").oneOf("string", "number", "bool", "list", "map", "any").standard(`"string"`),
		expression("default", "Without it, a value must be given."),
		text("description", "For people."),
	}}}
}

func localsBlock() blockType {
	return blockType{name: "locals", many: true, doc: "Named values, read as local.NAME.", body: bodyType{free: true}}
}

func connectorBlock(kind, doc string, schema *model.Schema) blockType {
	t := blockType{name: kind, labels: []string{"plugin", "name"}, many: true, doc: doc}
	if schema == nil {
		t.body.free = true
		return t
	}
	t.body = bodyOf(*schema)
	core := coreAttributes(kind)
	t.body.attributes = slices.Concat(t.body.attributes, core.attributes)
	t.body.blocks = slices.Concat(t.body.blocks, core.blocks)
	return t
}

// coreAttributes are what the core itself takes in a connector's block.
func coreAttributes(kind string) bodyType {
	b := bodyType{attributes: []attribute{
		boolean("enabled", "With false the block is checked and not used.").standard("true"),
	}}
	if kind == "connection" {
		return bodyType{}
	}
	b.attributes = append(
		b.attributes,
		reference("connection", "The connection that it uses."),
		textMap("env", "The environment of its process; there is no other."),
		text("isolation", "\"own\" gives it a process of its own.").oneOf("shared", "own").standard(`"shared"`),
		duration("timeout", "Bound of one call."),
		reference("shadow", shadowDoc(kind)),
		text("on_failure", "What happens when it fails.").notYet(),
	)
	switch kind {
	case "detector":
		b.blocks = append(b.blocks, blockType{name: "health", doc: "When its owner wants to be told.", body: bodyType{attributes: []attribute{
			duration("silence", "No event for this long is a fault."),
			texts("fields", "Fields that every event should have."),
			text("runbook", "Where a person reads what to do."),
		}}})
	case "enrichment":
		b.attributes = append(
			b.attributes,
			texts("takes", "Kinds of observables to ask about. By default all that the connector takes."),
			boolean("internal", "It is the organisation's own: it may name subjects and may be told the organisation's names.").standard("false"),
			duration("ttl", "How long an answer is good. By default what the source or the connector says."),
			duration("patience", "How long a case waits for it.").standard(`"30s"`),
		)
		b.blocks = append(b.blocks, blockType{name: "limit", doc: "Questions that it takes; more wait.", body: bodyType{attributes: []attribute{
			integer("per_minute", "How many a minute."),
			integer("per_day", "How many a day."),
		}}})
	}
	return b
}

func shadowDoc(kind string) string {
	switch kind {
	case "detector":
		return "The detector that this one is to be compared with. Its events are taken in and counted, and only the other's are matched."
	case "enrichment":
		return "The enrichment that this one is to be compared with. It is asked the same, and only what the other says counts."
	}
	return "Refused: what an action does would take effect twice."
}

func mapBlock() blockType {
	return blockType{name: "map", doc: "Reads the common fields from the event.", body: bodyType{attributes: []attribute{
		expression("title", "What it is, in a line."),
		expression("severity", "0 to 100."),
		expression("time", "When it happened: RFC 3339 text, or seconds or milliseconds since 1970."),
		expression("stopped", "Did the control already block it?"),
		expression("techniques", "ATT&CK techniques."),
		expression("link", "A page about it at its source."),
		expression("subjects", "Who is affected: { kind = value }, a value or a list of them."),
		expression("indicators", "What is evidence: { kind = value }."),
		expression("observables", "What is neither: { kind = value }."),
	}}}
}

func templateBlock() blockType {
	return blockType{name: "template", labels: []string{"name"}, many: true, doc: "A part of pipelines that can be used again.", body: bodyType{
		attributes: []attribute{
			reference("use", "Another template that it adds to."),
			expression("when", "Which events go on."),
			boolean("alerts", "What passes is a signal."),
			references("respond", "Responses for its signals."),
			text("timezone", "Of times without one, such as \"Europe/Berlin\".").standard(`"UTC"`),
		},
		blocks: []blockType{mapBlock()},
	}}
}

func pipelineBlock() blockType {
	t := templateBlock()
	t.name, t.doc = "pipeline", "The road of a source's events."
	t.body.attributes[0].Doc = "A template: what the pipeline says itself counts more, and both conditions must hold."
	t.body.attributes = append(
		t.body.attributes,
		references("from", "Detectors.").must(),
		text("state", "Of one with alerts = true, as a rule's. Without it what production needs and is missing is warned about.").oneOf(Production, Experimental),
	)
	t.body.blocks = append(t.body.blocks, aboutBlock(), forecastBlock(), testBlock())
	return t
}

func ignoreBlock() blockType {
	return blockType{name: "ignore", labels: []string{"name"}, many: true, doc: "Events that are taken out, and counted. It is owned, explained, and it ends.", body: bodyType{attributes: []attribute{
		references("on", "Pipelines and, to take events out of one rule alone, rules that read events.").must(),
		expression("when", "Which events. What is not known is not ignored.").must(),
		text("owner", "Who answers for it.").must(),
		text("reason", "Why.").must(),
		text("expires", "Its last day, as \"2027-03-01\" (UTC), or a time by RFC 3339.").must(),
	}}}
}

func ruleBlock() blockType {
	return blockType{name: "rule", labels: []string{"name"}, many: true, doc: "A detection.", body: bodyType{
		attributes: []attribute{
			text("state", "\"production\", which needs its about, a test that fires, one that does not, and a respond; or \"experimental\", which needs a condition alone, joins no case and reaches nobody.").oneOf(Production, Experimental).standard(`"production"`),
			references("on", "Pipelines whose events it reads, and rules whose signals it reads."),
			expression("when", "Which events, as `event`. Of sources that report signals themselves it says which signals, as `signal` with what is known about it."),
			expression("title", "Of its signals. By default the event's or, over several events, the rule's name."),
			integer("severity", "0 to 100. By default the event's, or the highest of several."),
			references("respond", "Responses for its signals."),
			references("sequence", "Over several: pipelines and rules that report one after another."),
			references("all", "Over several: pipelines and rules that report in any order."),
			integer("count", "Over several: how many events of \"on\"."),
			boolean("first", "Over several: the first event of its key for as long as \"within\" says."),
			references("absent", "Over several: what should have followed on an event of \"on\", and did not."),
			references("unless", "Over several: what must not have come in between."),
			texts("by", "Over several: kinds of observables that the events share."),
			duration("within", "Over several: the time between the first and the last, at most 90 days."),
			duration("every", "Over several: a group is reported once in each such period, and what comes to it revises that. By default as long as \"within\"."),
			integer("most", "Over several: how many groups are kept at once, some 300 bytes each and more with their events. Beyond that the one that was fed longest ago goes, and is counted.").standard("1000000"),
		},
		blocks: []blockType{
			aboutBlock(),
			forecastBlock(),
			testBlock(),
			{name: "key", doc: "Over several: further values that the events share, each NAME = expression. One that is called as a kind of observable is read as that kind.", body: bodyType{free: true}},
			{name: "distinct", doc: "Over several: so many different values.", body: bodyType{attributes: []attribute{
				expression("of", "A kind of observable, as \"user\", or what to read of each event.").must(),
				integer("least", "How many different ones.").must(),
			}}},
			{name: "sum", doc: "Over several: numbers that add up. Those below 0 count as 0.", body: bodyType{attributes: []attribute{
				expression("of", "The number to read of each event.").must(),
				number("above", "The sum from which on it reports.").must(),
			}}},
			{name: "average", doc: "Over several: numbers with a high average.", body: bodyType{attributes: []attribute{
				expression("of", "The number to read of each event.").must(),
				number("above", "The average from which on it reports.").must(),
				integer("least", "How many events there must be.").standard("1"),
			}}},
			{name: "percentile", doc: "Over several: numbers of which that of a rank is high.", body: bodyType{attributes: []attribute{
				expression("of", "The number to read of each event.").must(),
				integer("percent", "The rank, 0 to 100: 50 is the median.").must(),
				number("above", "The number from which on it reports.").must(),
				integer("least", "How many events there must be.").standard("1"),
			}}},
			{name: "spike", doc: "Over several: more than the same key usually has.", body: bodyType{attributes: []attribute{
				number("factor", "How many times the average of its past, for as long as \"within\".").must(),
				duration("past", "How long its past is, before that.").must(),
				integer("least", "How many events there must be.").standard("1"),
				expression("of", "The number to add up. By default the events are counted."),
			}}},
		},
	}}
}

// aboutBlock is Palantir's alerting and detection strategy. What production must have of
// it is in about.
func aboutBlock() blockType {
	return blockType{name: "about", doc: "What a person reads, by Palantir's ADS framework. Production needs all of it but priority and references.", body: bodyType{attributes: []attribute{
		text("goal", "What it detects."), text("plainly", "The same for everybody."),
		texts("technique", "ATT&CK techniques, such as \"T1110.001\"."), text("strategy", "How."),
		text("blind_spots", "What it misses."), text("false_positives", "What it takes for an attack."),
		text("validation", "How to see it work."), text("author", "Who wrote it, and answers for it."),
		text("priority", "Why its severity."), texts("references", "Where to read on."),
	}}}
}

func forecastBlock() blockType {
	return blockType{name: "forecast", doc: "What its author expects of it, to be held against what comes.", body: bodyType{attributes: []attribute{
		number("per_week", "Signals a week."),
		number("precision", "The share of them that will be right, 0 to 1."),
		number("loss", "What an attack costs that it would have found, in money."),
		number("p", "How likely such an attack is within a year, 0 to 1."),
	}}}
}

func testBlock() blockType {
	return blockType{name: "test", labels: []string{"name"}, many: true, doc: "Shows that it works: \"kelpie test\" runs it.", body: bodyType{
		attributes: []attribute{
			text("at", "When the first event is received, RFC 3339. By default when it happened."),
		},
		blocks: []blockType{
			{name: "given", labels: []string{"detector"}, many: true, doc: "Events of a detector, by its address.", body: bodyType{attributes: []attribute{
				expression("events", "A list of objects, or lines of JSON: file(\"tests/beacon.ndjson\"). Each is the source's own JSON, or { raw = …, time = …, … } with what the connector reads from it.").must(),
			}}},
			{name: "answer", labels: []string{"enrichment", "kind", "value"}, many: true, doc: "What an enrichment, by its address, says about a value. What has no answer is unknown.", body: bodyType{attributes: []attribute{
				expression("verdict", "A verdict's fields."), expression("asset", "An asset's fields."),
				expression("identity", "An identity's fields."), expression("network", "A network's fields."),
				expression("found", "Further values that it names, { kind = value }: they are asked about in turn."),
				text("state", "What comes instead of an answer; \"pending\" never comes.").oneOf("failed", "clean", "unknown", "pending"),
			}}},
			{name: "choose", labels: []string{"step", "option"}, many: true, doc: "What a person chooses when a step, by its address, asks. What nothing is chosen for nobody answers, until the time is over.", body: bodyType{attributes: []attribute{
				text("because", "The reason."),
				text("by", "Who: an address, or a user's name. By default the first who was asked."),
			}}},
			{name: "want", required: true, doc: "What must come of it.", body: bodyType{attributes: []attribute{
				integer("signals", "How many signals it makes."),
				integer("cases", "How many cases these are in."),
				expression("score", "Of the case with the highest one: a number, or a range such as \"60..80\"."),
				texts("steps", "Steps that are planned for these cases, as \"response.contain.isolate\", and no others."),
				texts("asked", "Steps that ask people something, or for their approval, and no others."),
				boolean("quiet", "True: nothing comes of it, neither signals nor cases nor steps."),
			}}},
		},
	}}
}

func scoreBlock() blockType {
	return blockType{name: "score", doc: "What makes a case bad.", body: bodyType{
		attributes: []attribute{
			text("preset", "Factors to start from: \"balanced\", \"fido\" or \"fido_compat\". A factor of the same name here replaces the preset's."),
			valueOf("inputs", "map", "What the preset takes, such as { titles = [\"ceo\"] }; docs/score.md lists it."),
			integer("round", "The total is rounded to multiples of it; a half goes to the even multiple. By default it is not rounded."),
		},
		blocks: []blockType{{
			name: "factor", labels: []string{"name"}, many: true, doc: "A part of the score.",
			body: bodyType{
				attributes: []attribute{
					number("weight", "The share of its points, 0 to 1 as a rule.").must(),
					text("combine", "How its evidence adds up; with \"decay\" the n-th best counts 1/2^n.").oneOf("max", "sum", "decay").standard(`"max"`),
					integer("divide", "What the combined points are divided by, before they are capped. By default nothing."),
					integer("round", "They are rounded to multiples of it; a half goes to the even multiple. By default not."),
				},
				blocks: []blockType{{
					name: "evidence", labels: []string{"name"}, many: true, required: true, doc: "A kind of reason.",
					body: bodyType{attributes: []attribute{
						expression("for_each", "A list: it counts once for each element, as each.value."),
						expression("when", "Whether it counts."),
						expression("points", "0 to 100. What is not known counts nothing.").must(),
						expression("because", "Why, in a sentence.").must(),
						expression("source", "Where it comes from. By default the element's `source`."),
						expression("at", "When that was said or happened. By default the element's `at`, or its `time`."),
						expression("reliability", "How sure it is, 0 to 100. By default the element's `confidence`."),
					}},
				}},
			},
		}, testBlock()},
	}}
}

func responseBlock() blockType {
	return blockType{name: "response", labels: []string{"name"}, many: true, doc: "What to do about a case.", body: bodyType{
		attributes: []attribute{expression("when", "Which cases.")},
		blocks: []blockType{{
			name: "step", labels: []string{"name"}, many: true, required: true, doc: "One verb, for each of its targets.",
			body: bodyType{
				attributes: []attribute{
					reference("do", "What to do: action.NAME.VERB.").must(),
					expression("when", "Whether to. A step that an option runs, or that stands in for one that failed, is taken by itself only if it has this."),
					references("needs", "Steps that must be done before, or already so, or answered; otherwise it is not taken."),
					expression("targets", "To whom or what: a value or a list."),
					expression("to", "Who is told: route.NAME, or addresses and names of users."),
					expression("because", "Why, in a sentence."),
					reference("text", "What people are told, instead of the standard text: text.NAME."),
					duration("wait", "How long to wait for an answer, from when the question was delivered."),
					boolean("ask_subject", "Whether people are asked who are subjects of the case: their choice decides nothing, and is kept as evidence.").standard("false"),
					expression("undo_after", "How long it is held before it is undone: a time, which may depend on the case, or \"forever\": until a person lets it go, which needs a because."),
					integer("parallel", "How many of its targets are under way at once. By default all."),
					references("on_failure", "Steps that are taken if it fails, is refused or nobody knows, and only then."),
				},
				blocks: []blockType{
					{name: "parameters", doc: "What the verb wants to know besides.", body: bodyType{free: true}},
					optionBlock(), retryBlock(), approvalBlock(),
				},
			},
		}, testBlock()},
	}}
}

func holdBlock() blockType {
	return blockType{name: "hold", doc: "Who is told of what could not be let go, such as a host that is still isolated since its undo failed. Without this block: who was told of its case.", body: bodyType{attributes: []attribute{
		texts("to", "Addresses.").must(),
		reference("via", "The action that tells them: action.NAME.").must(),
		duration("every", "How often they are told, and an undo that failed is tried again, until it is done.").standard(`"1h"`),
	}}}
}

func optionBlock() blockType {
	return blockType{name: "option", labels: []string{"name"}, many: true, doc: "What a person may choose. \"ignore\" proposes an ignore, \"escalate\" asks the author of the rule, \"not_mine\" who is next; every other name is your own.", body: bodyType{attributes: []attribute{
		text("summary", "What it means, in a line."),
		boolean("needs_reason", "Whether a reason must be given. \"ignore\" always needs one.").standard("false"),
		texts("reasons", "The words of which the reason must be one; a note may follow. Of \"ignore\" they are expected, authorised_test, false_alarm and duplicate."),
		references("run", "Steps of this response that are taken then, whatever their \"when\" says."),
	}}}
}

func retryBlock() blockType {
	return blockType{name: "retry", doc: "How it is tried again. By default what failed or could not be called is, for about an hour.", body: bodyType{attributes: []attribute{
		texts("on", "What is tried again: \"failed\", which the action says, and \"unavailable\", where it could not be called. By default both; [] is none."),
		integer("times", "How many tries in all, the first included.").standard("64"),
		duration("first", "The pause after the first try, which doubles.").standard(`"1s"`),
		duration("most", "The longest pause.").standard(`"1m"`),
	}}}
}

func approvalBlock() blockType {
	return blockType{name: "approval", doc: "Who has to agree before the step is taken. They see first what a dry run of it says. Nobody is asked who is a subject of the case.", body: bodyType{attributes: []attribute{
		expression("from", "Who is asked: route.NAME, or addresses and names of users.").must(),
		reference("via", "The action by which they are asked: action.NAME, which offers notify.").must(),
		integer("people", "How many different ones have to agree.").standard("1"),
		text("role", "That each must have.").oneOf(plan.Roles()...),
		duration("wait", "How long, from when the question was delivered.").must(),
		text("otherwise", "What it means if nobody answers in that time.").oneOf(model.OptionRefuse, model.OptionApprove).standard(`"refuse"`),
		text("because", "Why it may be done without an answer; of a step that changes something, otherwise = \"approve\" needs it."),
		boolean("ask_subject", "Whether subjects of the case are asked too: their choice decides nothing, and is kept as evidence.").standard("false"),
	}}}
}

func textBlock() blockType {
	return blockType{name: "text", labels: []string{"name"}, many: true, doc: "What people are told by steps with text = text.NAME.", body: bodyType{attributes: []attribute{
		expression("subject", "The subject line."),
		expression("asked", "What the reader is asked to do."),
		expression("body", "What stands before the facts."),
	}}}
}

func userBlock() blockType {
	return blockType{name: "user", labels: []string{"name"}, many: true, doc: "A person that Kelpie knows.", body: bodyType{attributes: []attribute{
		texts("mail", "The mailboxes that the person reads, a team's too. The first is where to write to.").must(),
		texts("roles", "What the person may do: viewer, responder, approver, engineer or admin; each may do what those before it may."),
		text("team", "The team."),
		texts("accounts", "Accounts that are this person, as \"user:kim\" or \"account:ACME\\\\kim\": nobody decides about an alert on an account of their own."),
	}}}
}

func protectBlock() blockType {
	return blockType{name: "protect", labels: []string{"name"}, many: true, doc: "What must not be touched. What is not known is protected.", body: bodyType{attributes: []attribute{
		texts("verbs", "Verbs that it forbids. By default all that change something."),
		expression("when", "Which targets.").must(),
	}}}
}
