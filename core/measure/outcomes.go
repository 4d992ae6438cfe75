package measure

import (
	"slices"
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
)

// Ended is a case that has ended, as far as its outcome is measured.
type Ended struct {
	Kind   model.FindingKind `json:"kind"`
	Opened time.Time         `json:"opened"`
	At     time.Time         `json:"at"`
	// Minutes of people's time and loss in dollars, as they said; 0: not said.
	Minutes int `json:"minutes,omitempty"`
	Loss    int `json:"loss,omitempty"`
	model.Worked
}

// EndedOf is a case that has ended; ok is false for others.
func EndedOf(c *model.Case) (e Ended, ok bool) {
	f := c.Finding
	if f == nil || c.State != model.CaseClosed {
		return e, false
	}
	e = Ended{Kind: f.Kind, Opened: c.OpenedAt, At: f.At, Minutes: f.Minutes, Loss: f.Loss}
	if c.Worked != nil {
		e.Worked = *c.Worked
	}
	return e, true
}

// Times are some times, in order of how long they are.
type Times struct {
	N      int           `json:"n"`
	Median time.Duration `json:"median"`
	P90    time.Duration `json:"p90"`
}

// TimesOf is nil if there are none. A quantile is the least of them that so many are not
// beyond ("nearest rank"), so that it is one that there was.
func TimesOf(all []time.Duration) *Times {
	if len(all) == 0 {
		return nil
	}
	all = slices.Sorted(slices.Values(all))
	rank := func(percent int) time.Duration { return all[max((len(all)*percent+99)/100, 1)-1] }
	return &Times{N: len(all), Median: rank(50), P90: rank(90)}
}

// Outcomes is what became of the cases of some rules.
type Outcomes struct {
	// Cases that were opened in the time; None of them has nobody said anything of.
	Cases int `json:"cases"`
	None  int `json:"none"`
	// Of those that have ended, by what they were found to be.
	TruePositive  int `json:"true_positive"`
	Benign        int `json:"benign"`
	FalsePositive int `json:"false_positive"`
	// Precision is the share of true positives among what has ended.
	Precision Share `json:"precision"`
	// Decided is from when a case was opened until it was ended, Chosen from when somebody
	// was asked until somebody chose; nil: there was none.
	Decided *Times `json:"decided,omitempty"`
	Chosen  *Times `json:"chosen,omitempty"`
	// Automated are those of the ended ones for which a step was taken that no person chose
	// or approved, Unasked those of which nobody was asked.
	Automated Share `json:"automated"`
	Unasked   Share `json:"unasked"`
	// Told is how often people were told of them.
	Told int `json:"told"`
	// Minutes of people's time, as Said of them said, and Loss in dollars, as Lost of them.
	Minutes int `json:"minutes"`
	Said    int `json:"said"`
	Loss    int `json:"loss"`
	Lost    int `json:"lost"`
	// Looked is how many of the ended cases the times, shares and sums are of: the newest.
	Looked int `json:"looked"`

	// Signals were reported, and Lookups first needed by them, in the time. Repeats are
	// the signals that made no case of their own.
	Signals uint64 `json:"signals"`
	Lookups uint64 `json:"lookups"`
	Repeats uint64 `json:"repeats"`
}

// OutcomesOf adds up. Counts are all cases by what they were found to be, "" being those
// of which nobody has said; looked are the newest that have ended.
func OutcomesOf(counts map[model.FindingKind]int, looked []Ended) Outcomes {
	o := Outcomes{
		None: counts[""], TruePositive: counts[model.TruePositive], Benign: counts[model.Benign],
		FalsePositive: counts[model.FalsePositive], Looked: len(looked),
	}
	ended := o.TruePositive + o.Benign + o.FalsePositive
	o.Cases = o.None + ended
	o.Precision = ShareOf(o.TruePositive, ended)
	var decided, chosen []time.Duration
	automated, unasked := 0, 0
	for i := range looked {
		e := &looked[i]
		decided = append(decided, max(e.At.Sub(e.Opened), 0))
		if e.Chosen > 0 {
			chosen = append(chosen, e.Chosen)
		}
		if e.Steps > 0 {
			automated++
		}
		if e.Asked == 0 {
			unasked++
		}
		o.Told += e.Told
		if e.Minutes > 0 {
			o.Minutes += e.Minutes
			o.Said++
		}
		if e.Loss > 0 {
			o.Loss += e.Loss
			o.Lost++
		}
	}
	o.Decided, o.Chosen = TimesOf(decided), TimesOf(chosen)
	o.Automated, o.Unasked = ShareOf(automated, len(looked)), ShareOf(unasked, len(looked))
	return o
}

// Count adds what the ledger has counted of the same rules.
func (o *Outcomes) Count(signals, lookups uint64) {
	o.Signals, o.Lookups = signals, lookups
	o.Repeats = signals - min(signals, uint64(o.Cases))
}

// Rule is what reports signals.
type Rule struct {
	Address  string
	Author   string    // empty: none is named
	Forecast *Forecast // nil: there is none
}

// Forecast is what a rule's author expects of it; what is not written is nil.
type Forecast struct {
	PerWeek   *float64 `json:"per_week,omitempty"`
	Precision *float64 `json:"precision,omitempty"`
	Loss      *float64 `json:"loss,omitempty"`
	P         *float64 `json:"p,omitempty"`
}

// Calibration is a forecast against what happened in a time.
type Calibration struct {
	Forecast Forecast `json:"forecast"`
	// Span is the time that what happened is of.
	Span     time.Duration `json:"span"`
	Signals  uint64        `json:"signals"`
	PerWeek  float64       `json:"per_week"` // measured
	Observed Share         `json:"observed"` // true positives of what has ended
	None     int           `json:"none"`     // cases of which nobody has said anything
	// Brier is that of the precision that was forecast, Known that of who had known the
	// share; nil: nothing was forecast, or nothing has ended.
	Brier *float64 `json:"brier,omitempty"`
	Known *float64 `json:"known,omitempty"`
	// Attack: there was a true positive, and Likely is how likely there was to be one in
	// this time by the forecast; nil: none was made.
	Attack bool     `json:"attack"`
	Likely *float64 `json:"likely,omitempty"`
	// Expected is the loss that was to be expected in this time, in dollars, and Loss what
	// people said was lost.
	Expected *float64 `json:"expected,omitempty"`
	Loss     int      `json:"loss"`
}

// Said are the forecasts of the precision, one for each case that has ended.
func (v *Calibration) Said() []Said {
	if v.Forecast.Precision == nil {
		return nil
	}
	all := make([]Said, v.Observed.Of)
	for i := range all {
		all[i] = Said{*v.Forecast.Precision, i < v.Observed.Is}
	}
	return all
}

// CalibrationOf holds a forecast against what became of the rule's cases.
func CalibrationOf(f Forecast, o *Outcomes, span time.Duration) Calibration {
	v := Calibration{
		Forecast: f, Span: span, Signals: o.Signals, PerWeek: PerWeek(int(o.Signals), span),
		Observed: o.Precision, None: o.None, Attack: o.TruePositive > 0, Loss: o.Loss,
	}
	said := v.Said()
	if score, ok := Brier(said); ok {
		known := Uncertainty(said)
		v.Brier, v.Known = &score, &known
	}
	if f.P != nil {
		likely := Within(*f.P, span)
		v.Likely = &likely
		if f.Loss != nil {
			expected := likely * *f.Loss
			v.Expected = &expected
		}
	}
	return v
}

// Calibrations are those of some rules, and of all of them together.
type Calibrations struct {
	Rules []Named `json:"rules"`
	// Brier of all the precisions, Known and the reliability table of them.
	Brier *float64 `json:"brier,omitempty"`
	Known *float64 `json:"known,omitempty"`
	Bins  []Bin    `json:"reliability"`
	// Attacks is the Brier score of how likely an attack was, one forecast for each rule.
	Attacks *float64 `json:"attacks,omitempty"`
}

// Named is that of one rule.
type Named struct {
	Rule   string `json:"rule"`
	Author string `json:"author,omitempty"`
	Calibration
}

// Together adds up calibrations of rules.
func Together(rules []Named) Calibrations {
	out := Calibrations{Rules: rules}
	var said, attacks []Said
	for i := range rules {
		said = append(said, rules[i].Said()...)
		if rules[i].Likely != nil {
			attacks = append(attacks, Said{*rules[i].Likely, rules[i].Attack})
		}
	}
	if score, ok := Brier(said); ok {
		known := Uncertainty(said)
		out.Brier, out.Known = &score, &known
	}
	if score, ok := Brier(attacks); ok {
		out.Attacks = &score
	}
	out.Bins = Reliability(said)
	return out
}
