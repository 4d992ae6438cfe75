package config

import (
	"slices"
	"strings"
	"testing"
)

// placeTexts are configurations with an expression at each place, by place and
// attribute: EXPR stands for it.
var placeTexts = map[string]string{
	"pipelines and templates when":                      "pipeline \"p\" {\n from = [detector.d]\n alerts = true\n respond = [response.r]\n when = EXPR\n}\n" + placeResponse(""),
	"pipelines and templates map":                       "pipeline \"p\" {\n from = [detector.d]\n alerts = true\n respond = [response.r]\n map {\n  link = EXPR\n }\n}\n" + placeResponse(""),
	"ignores when":                                      placePipeline + placeResponse("") + "ignore \"i\" {\n on = [pipeline.p]\n when = EXPR\n owner = \"a\"\n reason = \"b\"\n expires = \"2099-01-01\"\n}\n",
	"rules when":                                        placePipeline + placeResponse("") + "rule \"q\" {\n on = [pipeline.p]\n respond = [response.r]\n when = EXPR\n}\n",
	"rules title":                                       placePipeline + placeResponse("") + "rule \"q\" {\n on = [pipeline.p]\n respond = [response.r]\n when = true\n title = EXPR\n}\n",
	"rules key":                                         placeFacts + placeResponse("") + "rule \"q\" {\n on = [pipeline.p]\n respond = [response.r]\n count = 2\n within = \"1h\"\n key {\n  x = EXPR\n }\n}\n",
	"rules of":                                          placeFacts + placeResponse("") + "rule \"q\" {\n on = [pipeline.p]\n respond = [response.r]\n within = \"1h\"\n distinct {\n  of = EXPR\n  least = 2\n }\n}\n",
	"rules over signals when":                           placePipeline + placeResponse("") + "rule \"q\" {\n on = [pipeline.p]\n respond = [response.r]\n count = 2\n within = \"1h\"\n when = EXPR\n}\n",
	"rules over signals key":                            placePipeline + placeResponse("") + "rule \"q\" {\n on = [pipeline.p]\n respond = [response.r]\n count = 2\n within = \"1h\"\n key {\n  x = EXPR\n }\n}\n",
	"rules over signals of":                             placePipeline + placeResponse("") + "rule \"q\" {\n on = [pipeline.p]\n respond = [response.r]\n within = \"1h\"\n distinct {\n  of = EXPR\n  least = 2\n }\n}\n",
	"titles of rules over several title":                placeFacts + placeResponse("") + "rule \"q\" {\n on = [pipeline.p]\n respond = [response.r]\n count = 2\n within = \"1h\"\n title = EXPR\n}\n",
	"evidence of the score for_each":                    placePipeline + placeResponse("") + placeEvidence("for_each = EXPR", "", "1", "\"\""),
	"evidence of the score when":                        placePipeline + placeResponse("") + placeEvidence("for_each = case.verdicts", "when = EXPR", "1", "\"\""),
	"evidence of the score points":                      placePipeline + placeResponse("") + placeEvidence("for_each = case.verdicts", "", "EXPR", "\"\""),
	"evidence of the score because":                     placePipeline + placeResponse("") + placeEvidence("for_each = case.verdicts", "", "1", "EXPR"),
	"evidence of the score source":                      placePipeline + placeResponse("") + placeEvidence("for_each = case.verdicts", "source = EXPR", "1", "\"\""),
	"evidence of the score at":                          placePipeline + placeResponse("") + placeEvidence("for_each = case.verdicts", "at = EXPR", "1", "\"\""),
	"evidence of the score reliability":                 placePipeline + placeResponse("") + placeEvidence("for_each = case.verdicts", "reliability = EXPR", "1", "\"\""),
	"responses when":                                    placePipeline + "response \"r\" {\n when = EXPR\n step \"s\" {\n do = action.mail.notify\n to = [\"a@example.org\"]\n }\n}\n",
	"steps when":                                        placePipeline + placeResponse("when = EXPR"),
	"steps targets":                                     placePipeline + strings.NewReplacer("action.mail.notify\n to = [\"a@example.org\"]", "action.edr.isolate_host\n targets = EXPR\n undo_after = \"4h\"").Replace(placeResponse("")) + "action \"carbonblack\" \"edr\" {\n connection = connection.edr\n}\nconnection \"carbonblack\" \"edr\" {\n url = \"https://a\"\n token = secret(\"t\")\n}\n",
	"steps to":                                          placePipeline + strings.Replace(placeResponse(""), "[\"a@example.org\"]", "EXPR", 1),
	"parameters, because and texts of steps parameters": placePipeline + placeResponse("parameters {\n subject = EXPR\n }"),
	"parameters, because and texts of steps because":    placePipeline + placeResponse("because = EXPR"),
	"parameters, because and texts of steps subject":    placePipeline + placeResponse("text = text.t") + "text \"t\" {\n subject = EXPR\n}\n",
	"parameters, because and texts of steps asked":      placePipeline + placeResponse("text = text.t") + "text \"t\" {\n asked = EXPR\n}\n",
	"parameters, because and texts of steps body":       placePipeline + placeResponse("text = text.t") + "text \"t\" {\n body = EXPR\n}\n",
	"steps from":                                        placePipeline + placeResponse("approval {\n from = EXPR\n via = action.mail\n wait = \"1m\"\n }"),
	"routes to":                                         placePipeline + strings.Replace(placeResponse(""), "[\"a@example.org\"]", "route.x", 1) + "route \"x\" {\n to = EXPR\n otherwise = \"a@example.org\"\n}\n",
	"routes team":                                       placePipeline + strings.Replace(placeResponse(""), "[\"a@example.org\"]", "route.x", 1) + "route \"x\" {\n to = [\"a@example.org\"]\n team = EXPR\n otherwise = \"a@example.org\"\n}\n",
	"protects when":                                     placePipeline + placeResponse("") + "protect \"x\" {\n when = EXPR\n}\n",
	"parameters, because and texts of steps undo_after": placePipeline + strings.NewReplacer("action.mail.notify\n to = [\"a@example.org\"]", "action.edr.isolate_host\n targets = case.hosts\n undo_after = \"${try(jsonencode(EXPR), \"\")}\"").Replace(placeResponse("")) + "action \"carbonblack\" \"edr\" {\n connection = connection.edr\n}\nconnection \"carbonblack\" \"edr\" {\n url = \"https://a\"\n token = secret(\"t\")\n}\n",
}

const placePipeline = "pipeline \"p\" {\n from = [detector.d]\n alerts = true\n respond = [response.r]\n}\n"

const placeFacts = "pipeline \"p\" {\n from = [detector.d]\n}\n"

func placeResponse(more string) string {
	return "response \"r\" {\n step \"first\" {\n do = action.mail.notify\n to = [\"b@example.org\"]\n }\n step \"s\" {\n do = action.mail.notify\n to = [\"a@example.org\"]\n " + more + "\n }\n}\n"
}

func placeEvidence(forEach, when, points, because string) string {
	return "score {\n preset = \"fido\"\n factor \"f\" {\n weight = 1\n combine = \"sum\"\n evidence \"e\" {\n " + forEach + "\n " + when + "\n points = " + points + "\n because = " + because + "\n }\n }\n}\n"
}

// TestPlaces: what the table says can be read at a place can, and nothing else.
func TestPlaces(t *testing.T) {
	const head = "detector \"file\" \"d\" {\n path = \"/d\"\n}\naction \"email\" \"mail\" {\n server = \"smtp://a\"\n from = \"a@example.org\"\n}\n"
	reads := map[string]string{
		"event": "event.raw.x", "case": "case.id", "target": "target.value", "each": "each.value.labels[0]", "step": "step.first.result",
		"signal": "signal.severity",
		"factor": `"so far ${factor.points}"`, "input": "input.pci",
	}
	seen := 0
	for _, place := range Places() {
		for _, attribute := range place.Attributes {
			text, ok := placeTexts[place.Name+" "+attribute]
			if !ok {
				t.Errorf("no configuration has %s in %s", attribute, place.Name)
				continue
			}
			for root, expression := range reads {
				seen++
				switch attribute {
				case "when":
					expression = `"${try(` + expression + `, "")}." == "x"`
				case "title":
					expression = `"of ${` + expression + `}"`
				case "points", "reliability":
					expression = `try(length(` + expression + `), 0)`
				case "for_each":
					expression = "[" + expression + "]"
				}
				_, _, diags := parseText(t, head+strings.Replace(text, "EXPR", expression, 1), Options{})
				want := slices.Contains(place.Roots, root) && (root != "each" || attribute != "for_each")
				if got := !diags.HasErrors(); got != want {
					t.Errorf("%s in %s can read %s: %v, but the table says %v: %v", attribute, place.Name, root, got, want, diags)
				}
			}
		}
	}
	if seen < 60 {
		t.Errorf("only %d were tried", seen)
	}
}
