package driftline

import (
	"cmp"
	"strings"
	"unicode"
)

// DriftSource is one side of a comparison: exactly one of its fields is set.
type DriftSource struct {
	Ref Ref    `json:"ref,omitzero"`  // a dataset or a view
	SQL string `json:"sql,omitempty"` // a SELECT over features.*, datasets.*
}

// ParseDriftSource reads what people write for a table of the server: view/weather,
// dataset/late_departure, dataset/late_departure@1, or a SELECT.
func ParseDriftSource(text string) (DriftSource, error) {
	if ref, err := ParseRef(text); err == nil && (ref.Kind == KindDataset || ref.Kind == KindView) {
		return DriftSource{Ref: ref}, nil
	}
	if isSelect(text) {
		return DriftSource{SQL: text}, nil
	}
	return DriftSource{}, Errorf(Invalid, "%q is no table", clip(text)).WithHint("write dataset/NAME, dataset/NAME@1, view/NAME or a SELECT")
}

// isSelect reports whether a text begins as a SELECT does.
func isSelect(text string) bool {
	text = strings.TrimLeft(text, " \t\r\n(")
	end := strings.IndexFunc(text, func(r rune) bool { return !unicode.IsLetter(r) })
	if end < 0 {
		return false
	}
	switch strings.ToLower(text[:end]) {
	case "select", "with", "from":
		return text[end] != '.' // from.parquet is a file
	}
	return false
}

// String is what [ParseDriftSource] reads.
func (s DriftSource) String() string {
	if s.SQL != "" {
		return s.SQL
	}
	return s.Ref.String()
}

// DriftOptions say how two tables are compared. The zero value is the default.
type DriftOptions struct {
	Columns []string `json:"columns,omitempty"` // empty: every column that both sides have
	Exclude []string `json:"exclude,omitempty"`

	// Preset names the rules that choose tests and decide: "driftline" (the default),
	// "evidently" or "nannyml", which decide as those do by default, or a [Preset] of the
	// server's.
	Preset string `json:"preset,omitempty"`

	// Rules is a preset that need not be registered, in place of Preset.
	Rules *Preset `json:"rules,omitempty"`

	// Tests overrule the preset's choice. What names a column beats what names a type,
	// which beats what names a kind, which beats what names none; among equals the last
	// one counts.
	Tests []ColumnTest `json:"tests,omitempty"`

	// Alpha is the rate of false alarms over all columns that Correction controls; 0.05 if 0.
	Alpha float64 `json:"alpha,omitempty"`

	// Correction for many columns: "bh" (Benjamini–Hochberg, the default), "by"
	// (Benjamini–Yekutieli), "e-bh" or "none".
	Correction string `json:"correction,omitempty"`

	// Margin is the smallest effect that matters in practice, in the unit of
	// the test's effect (KS: D, chi-square: Cramér's V); 0.01 if nil.
	Margin *float64 `json:"margin,omitempty"`

	// DriftShare is the share of drifted columns from which on the data set has
	// drifted. If nil, the preset's: any column (driftline, nannyml), 0.5 (evidently).
	DriftShare *float64 `json:"drift_share,omitempty"`

	// Multivariate lists the tests of all columns together: "mmd", "classifier".
	Multivariate []string `json:"multivariate,omitempty"`
}

// ColumnTest chooses the test and the threshold of some columns.
type ColumnTest struct {
	Columns   []string `json:"columns,omitempty"`   // empty: all
	Types     []Type   `json:"types,omitempty"`     // of the columns; empty: any
	Kind      string   `json:"kind,omitempty"`      // "numeric" or "categorical"; empty: both
	Test      string   `json:"test"`                // its name, such as "ks" or "psi"
	Threshold *float64 `json:"threshold,omitempty"` // nil: the test's own
}

// DriftRequest asks the server to compare two of its tables.
type DriftRequest struct {
	Reference DriftSource `json:"reference"`
	Current   DriftSource `json:"current"`
	DriftOptions
}

// DriftReport is the outcome of comparing current data with reference data.
type DriftReport struct {
	Reference  DriftSide     `json:"reference"`
	Current    DriftSide     `json:"current"`
	Preset     string        `json:"preset"`
	Base       string        `json:"base,omitempty"` // whose rules Preset builds on, if it is not built in
	Alpha      float64       `json:"alpha"`
	Correction string        `json:"correction"`
	Margin     float64       `json:"margin"`
	Columns    []ColumnDrift `json:"columns"` // drifted ones first, then by effect
	Drifted    int           `json:"drifted"` // how many columns drifted

	Share Number `json:"share"` // Drifted of those compared; NaN if none was
	Drift bool   `json:"drift"` // whether the data set drifted, by the preset's rule

	Multivariate *MultivariateDrift `json:"multivariate,omitempty"` // nil if not asked for
}

// DecidedBy is the built-in preset whose rules decided: Preset, or what it builds on.
func (r *DriftReport) DecidedBy() string { return cmp.Or(r.Base, r.Preset, PresetDriftline) }

// Compared is how many columns were tested.
func (r *DriftReport) Compared() int {
	n := 0
	for _, c := range r.Columns {
		if c.Verdict != NotCompared {
			n++
		}
	}
	return n
}

// DriftSide describes one of the two tables.
type DriftSide struct {
	Name string `json:"name"`
	Rows int64  `json:"rows"`
}

// ColumnDrift is what was found in one column.
type ColumnDrift struct {
	Column string `json:"column"`
	Type   Type   `json:"type,omitempty"` // timestamps are compared, and binned, in microseconds
	Kind   string `json:"kind"`           // "numeric" or "categorical"
	Test   string `json:"test"`           // the column's main test, "ks" or "chi2" by default; "" if it could not be tested

	Statistic  Number `json:"statistic"` // of Test: D, or chi-square
	PValue     Number `json:"p_value"`   // of Test; NaN if it is a distance only
	Effect     Number `json:"effect"`    // of Test: D, or Cramér's V: 0 none, 1 complete
	EffectLow  Number `json:"effect_low"`
	EffectHigh Number `json:"effect_high"` // EffectLow … EffectHigh holds the true effect with probability 1 − Alpha
	Location   Number `json:"location"`    // KS: the value where the distributions differ most

	// Bracket is set where profiles were compared and do not tell D exactly: D lies in it
	// for certain, and Statistic is its lower end.
	Bracket *Bracket `json:"bracket,omitempty"`

	// Others are further tests of the same values, for what Test is blind to.
	Others []DriftStatistic `json:"others,omitempty"`

	CombinedPValue Number `json:"combined_p_value"` // of Test and Others together
	QValue         Number `json:"q_value"`          // CombinedPValue, corrected for the number of columns
	DecidedBy      string `json:"decided_by"`       // the test with the strongest evidence: Test, or one of Others
	Threshold      Number `json:"threshold"`        // what DecidedBy was compared with: Alpha for q, or a distance
	Detectable     Number `json:"detectable"`       // the smallest effect that would have been significant

	Verdict Verdict `json:"verdict"`        // of the values and of what is missing together
	Note    string  `json:"note,omitempty"` // why there is no test, or what to know of it

	ReferenceRows  int64 `json:"reference_rows"` // values tested: not null, not NaN
	CurrentRows    int64 `json:"current_rows"`
	ReferenceNulls int64 `json:"reference_nulls"` // null or NaN
	CurrentNulls   int64 `json:"current_nulls"`

	// The share of missing values is a question of its own. MissingVerdict is empty
	// where nothing is missing on either side, or everything on both.
	MissingPValue  Number  `json:"missing_p_value"`
	MissingQValue  Number  `json:"missing_q_value"`
	MissingEffect  Number  `json:"missing_effect"` // share of missing in current minus that in reference
	MissingVerdict Verdict `json:"missing_verdict,omitempty"`

	UnseenShare Number `json:"unseen_share"` // of current's values in categories that reference does not have; 0 for numbers

	Histogram Histogram `json:"histogram"`
}

// DriftStatistic is the outcome of one test.
type DriftStatistic struct {
	Name   string `json:"name"`
	Value  Number `json:"value"`
	PValue Number `json:"p_value"` // NaN if it is a distance only
	Effect Number `json:"effect"`  // from 0 to 1; NaN if it has none
}

// MultivariateDrift is what was found in all columns together: changes of how they
// hang together, which no column shows alone.
type MultivariateDrift struct {
	Columns       []string         `json:"columns"`
	ReferenceRows int64            `json:"reference_rows"` // complete rows that were used
	CurrentRows   int64            `json:"current_rows"`
	Tests         []DriftStatistic `json:"tests"`
	Verdict       Verdict          `json:"verdict"`
	Note          string           `json:"note,omitempty"`
}

// Verdict is what a comparison says of a column.
type Verdict string

// The verdicts. NotEnoughData is neither proof of drift nor of its absence.
const (
	Drift         Verdict = "drift"
	Same          Verdict = "same"
	NotEnoughData Verdict = "not enough data"
	NotCompared   Verdict = "not compared" // Test is empty, Note says why
)
