package driftline

// DriftSource is one side of a comparison: exactly one of its fields is set.
type DriftSource struct {
	Ref Ref    `json:"ref,omitzero"`  // a dataset or a view
	SQL string `json:"sql,omitempty"` // a SELECT over features.*, datasets.*
}

// DriftOptions say how two tables are compared. The zero value is the default.
type DriftOptions struct {
	Columns []string `json:"columns,omitempty"` // empty: every column that both sides have
	Exclude []string `json:"exclude,omitempty"`

	// Alpha is the false discovery rate over all columns (Benjamini–Hochberg); 0.05 if 0.
	Alpha float64 `json:"alpha,omitempty"`

	// Margin is the smallest effect that matters in practice, in the unit of
	// the test's effect (KS: D, chi-square: Cramér's V); 0.05 if nil.
	Margin *float64 `json:"margin,omitempty"`
}

// DriftRequest asks the server to compare two of its tables.
type DriftRequest struct {
	Reference DriftSource `json:"reference"`
	Current   DriftSource `json:"current"`
	DriftOptions
}

// DriftReport is the outcome of comparing current data with reference data.
type DriftReport struct {
	Reference DriftSide     `json:"reference"`
	Current   DriftSide     `json:"current"`
	Alpha     float64       `json:"alpha"`
	Margin    float64       `json:"margin"`
	Columns   []ColumnDrift `json:"columns"` // drifted ones first, then by effect
	Drifted   int           `json:"drifted"` // how many columns drifted
}

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
	Test   string `json:"test"`           // "ks" or "chi2"; "" if the column could not be tested

	Statistic Number `json:"statistic"` // D, or chi-square
	PValue    Number `json:"p_value"`
	QValue    Number `json:"q_value"`  // Benjamini–Hochberg adjusted p-value
	Effect    Number `json:"effect"`   // D, or Cramér's V: 0 none, 1 complete
	Location  Number `json:"location"` // KS: the value where the distributions differ most

	Verdict Verdict `json:"verdict"`
	Note    string  `json:"note,omitempty"` // why there is no test, or what to know of it

	ReferenceRows  int64     `json:"reference_rows"` // values tested: not null, not NaN
	CurrentRows    int64     `json:"current_rows"`
	ReferenceNulls int64     `json:"reference_nulls"` // null or NaN
	CurrentNulls   int64     `json:"current_nulls"`
	Histogram      Histogram `json:"histogram"`
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

// Histogram counts both sides over the same bins. A numeric column has Edges
// (one more than bins; the last bin includes its upper edge), a categorical one
// has Categories, the largest first and the rest summed up as "(other)".
type Histogram struct {
	Edges      []float64 `json:"edges,omitempty"`
	Categories []string  `json:"categories,omitempty"`
	Reference  []int64   `json:"reference"`
	Current    []int64   `json:"current"`
}
