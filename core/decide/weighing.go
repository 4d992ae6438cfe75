package decide

import (
	"cmp"
	"maps"
	"slices"

	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/plan"
	"github.com/kelpie-sec/kelpie/core/score"
)

// Weighing says of a stored case which responses its evidence asks for, and what would
// decide it otherwise.
type Weighing struct {
	// Why it can't be told; empty: it can.
	Why string `json:"why,omitempty"`
	// Responses are those that the case's rules have.
	Responses []Choice `json:"responses"`
	// Pieces are how many pieces of evidence were tried one by one, and Paired how many
	// of them in twos; Left are those that were not tried at all.
	Pieces int `json:"pieces"`
	Paired int `json:"paired"`
	Left   int `json:"left,omitempty"`
}

// Choice is whether a response is asked for.
type Choice struct {
	Response string `json:"response"`
	// Asked: its condition is true, by what is known now.
	Asked bool `json:"asked"`
	// Waits: an answer that it depends on is pending, so that nothing is planned yet.
	Waits bool `json:"waits,omitempty"`
	// AskedAtMost: its condition would be true if the total were Score.Upper.
	AskedAtMost bool            `json:"asked_at_most"`
	Steps       []plan.Outlined `json:"steps,omitempty"`
	// Flips are the smallest changes by which it would be decided otherwise: of one
	// piece of evidence less, or else of two. None: it takes more than that. More is how
	// many there are besides.
	Flips []Flip `json:"flips,omitempty"`
	More  int    `json:"more,omitempty"`
}

// Flip is evidence without which a choice would be the other one.
type Flip struct {
	Without []Piece          `json:"without"`
	Total   model.Hundredths `json:"total"`
}

// Piece is a piece of evidence: an answer of an enrichment, or a line of the score that
// comes from none.
type Piece struct {
	// Kind is "verdict", "asset", "identity" or "network", and Source who says it of
	// About; or "line" with its Factor and Evidence, and what it says.
	Kind     string `json:"kind"`
	Source   string `json:"source,omitempty"`
	About    string `json:"about,omitempty"`
	Factor   string `json:"factor,omitempty"`
	Evidence string `json:"evidence,omitempty"`
	Because  string `json:"because,omitempty"`

	// places of the answer: what an internal enrichment says of a thing by its name and
	// by its address is one piece.
	places []place
	points model.Hundredths
	weight model.Hundredths // of the heaviest line that it makes, or what it moves the total
}

// lineKind is of a piece that is a line of the score.
const lineKind = "line"

// Bounds of the work.
const (
	mostPieces  = 100
	mostPaired  = 16 // 120 pairs
	mostFlips   = 3
	mostMembers = 2000 // signals of a case
)

// decider tries what a case would be with less evidence.
type decider struct {
	c         Stored
	s         *Settings
	scorer    *score.Scorer
	plain     map[string]expr.Value
	said      []storedSaid
	responses []*plan.Response
}

// Weighing explains a case under these settings. It is no part of what is decided: the
// same rows give the same.
func (c Stored) Weighing(s *Settings) (Weighing, error) {
	d := Weighing{Responses: []Choice{}}
	if c.Case.Size > mostMembers {
		d.Why = "it has too many signals"
		return d, nil
	}
	scorer, err := score.New(s.Score)
	if err != nil {
		return d, err
	}
	t := &decider{c: c, s: s, scorer: scorer, plain: c.plain(), said: c.said(s), responses: s.Plan.Asked(c.Case.Rules)}
	if t.total(t.fields(nil), nil) != c.Case.Score.Total {
		d.Why = "its score can't be worked out again from what is stored: an answer has changed since"
		return d, nil
	}
	planner := plan.New(s.Plan)
	now, most := t.asked(t.fields(nil), c.Case.Score.Total), t.asked(t.fields(nil), c.Case.Score.Upper)
	for i, r := range t.responses {
		d.Responses = append(d.Responses, Choice{
			Response: r.Address, Asked: now[i], AskedAtMost: most[i], Waits: c.Case.Pending > 0 && planner.Depends(r.Address),
			Steps: s.Plan.Outline(r, t.scored(t.fields(nil), c.Case.Score.Total)),
		})
	}
	if len(t.responses) > 0 {
		t.search(&d)
	}
	return d, nil
}

// search finds the flips of each choice.
func (t *decider) search(d *Weighing) {
	pieces := t.pieces()
	d.Pieces = min(len(pieces), mostPieces)
	d.Left = len(pieces) - d.Pieces
	pieces = pieces[:d.Pieces]
	for i := range pieces {
		moved := t.try(d, pieces[i:i+1], 1) - t.c.Case.Score.Total
		pieces[i].weight = max(pieces[i].weight, moved, -moved)
	}
	if !slices.ContainsFunc(d.Responses, func(c Choice) bool { return len(c.Flips) == 0 }) {
		return
	}
	if len(pieces) > mostPaired {
		pieces = heaviest(pieces)
	}
	d.Paired = len(pieces)
	for i := range pieces {
		for j := range i {
			t.try(d, []Piece{pieces[j], pieces[i]}, 2)
		}
	}
}

// try leaves evidence out, and notes whose choice is another then. Of a choice that less
// evidence flips already nothing is noted.
func (t *decider) try(d *Weighing, without []Piece, size int) model.Hundredths {
	fields := t.fields(without)
	total := t.total(fields, without)
	asked := t.asked(fields, total)
	for i := range d.Responses {
		c := &d.Responses[i]
		if asked[i] == c.Asked || len(c.Flips) > 0 && len(c.Flips[0].Without) < size {
			continue
		}
		if len(c.Flips) == mostFlips {
			c.More++
			continue
		}
		c.Flips = append(c.Flips, Flip{slices.Clone(without), total})
	}
	return total
}

// heaviest are as many pieces as are paired, in their order.
func heaviest(pieces []Piece) []Piece {
	order := make([]int, len(pieces))
	for i := range pieces {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(pieces[b].weight, pieces[a].weight) })
	order = order[:mostPaired]
	slices.Sort(order)
	kept := make([]Piece, len(order))
	for i, n := range order {
		kept[i] = pieces[n]
	}
	return kept
}

// kinds of pieces that are answers, by the field of "case" that they are in.
var kinds = map[string]string{"verdicts": "verdict", "assets": "asset", "identities": "identity", "networks": "network"}

// pieces are the answers that count, and the lines of the score that none of them makes.
func (t *decider) pieces() []Piece {
	var all []Piece
	same := map[string]int{}
	for _, a := range t.said {
		l := t.c.Lookups[a.place.lookup]
		key := l.Ask.Enrichment + " " + a.same
		if first, ok := same[key]; ok && a.same != "" {
			all[first].places = append(all[first].places, a.place)
			continue
		}
		same[key] = len(all)
		all = append(all, Piece{Kind: kinds[a.field], Source: l.Ask.Enrichment, About: l.Ask.Observable.Key(), places: []place{a.place}})
	}
	for _, f := range t.c.Case.Score.Factors {
		for _, l := range f.Lines {
			if !t.makes(all, &l) && l.Points != 0 && !slices.ContainsFunc(all, func(o Piece) bool { return o.is(f.Name, &l) }) {
				all = append(all, Piece{
					Kind: lineKind, Factor: f.Name, Evidence: l.Evidence, Source: l.Source, Because: l.Because,
					points: l.Points, weight: max(l.Points, -l.Points),
				})
			}
		}
	}
	return all
}

// makes tells whether a line comes from an enrichment, and gives its weight to the
// piece that it comes from.
func (t *decider) makes(all []Piece, l *model.Line) bool {
	for i := range all {
		if p := &all[i]; p.Kind != lineKind && p.About == l.About && t.s.now(p.Source) == l.Source {
			p.weight = max(p.weight, l.Points, -l.Points)
		}
	}
	return slices.ContainsFunc(t.s.Sources, func(s Source) bool { return t.s.now(s.Address) == l.Source })
}

// is tells whether a piece is a line of the score.
func (p *Piece) is(factor string, l *model.Line) bool {
	return p.Kind == lineKind && p.Factor == factor && p.Evidence == l.Evidence && p.Because == l.Because && p.points == l.Points
}

// now is the address of now of what is known by another.
func (s *Settings) now(address string) string {
	if now := s.Names[address]; now != "" {
		return now
	}
	return address
}

// total of a case with pieces left out.
func (t *decider) total(fields map[string]expr.Value, without []Piece) model.Hundredths {
	return t.scorer.Without(expr.Object(fields), func(factor string, l *model.Line) bool {
		return slices.ContainsFunc(without, func(p Piece) bool { return p.is(factor, l) })
	}).Total
}

// asked tells of each response whether its condition is true at a total.
func (t *decider) asked(fields map[string]expr.Value, total model.Hundredths) []bool {
	value := t.scored(fields, total)
	all := make([]bool, len(t.responses))
	for i, r := range t.responses {
		all[i] = r.Holds(value)
	}
	return all
}

// fields of the case without pieces that are answers, and without a score.
func (t *decider) fields(without []Piece) map[string]expr.Value {
	fields := maps.Clone(t.plain)
	maps.Copy(fields, listed(t.said, func(at place) bool {
		return slices.ContainsFunc(without, func(p Piece) bool { return slices.Contains(p.places, at) })
	}))
	fields["score"] = expr.Value{}
	return fields
}

// scored is a case with a total.
func (t *decider) scored(fields map[string]expr.Value, total model.Hundredths) expr.Value {
	fields = maps.Clone(fields)
	fields["score"] = expr.Object(map[string]expr.Value{"total": points(total), "upper": points(max(total, t.c.Case.Score.Upper))})
	return expr.Object(fields)
}
