package driftline

import "time"

// DetectOptions say how a stream of numbers is watched for a change.
type DetectOptions struct {
	Column string `json:"column,omitempty"` // numbers or booleans; the only column if empty

	// Detector is a kind of package drift/detect; "scan" if empty.
	Detector string `json:"detector,omitempty"`

	// Parameters of the kind that are not to have their defaults.
	Parameters map[string]float64 `json:"parameters,omitempty"`
}

// DetectReport is where a stream changed.
type DetectReport struct {
	Source     string             `json:"source,omitempty"`
	Column     string             `json:"column"`
	Detector   string             `json:"detector"`
	Parameters map[string]float64 `json:"parameters"` // all of the kind
	Rows       int64              `json:"rows"`
	Missing    int64              `json:"missing"` // null or not finite: left out
	Changes    []StreamChange     `json:"changes"`
}

// StreamChange is an alarm of a detector.
type StreamChange struct {
	Row   int64 `json:"row"`   // at which it was found, from 0
	Since int64 `json:"since"` // the row from which on the stream most likely was another; Row if the detector does not say
}

// The tasks of models whose performance is measured.
const (
	TaskClassification = "classification" // into 0 and 1; of more classes, accuracy only
	TaskRegression     = "regression"
	TaskRanking        = "ranking"
)

// PerformanceOptions say which columns hold what of a model's predictions. A column whose
// name is empty is not there.
type PerformanceOptions struct {
	Task string `json:"task"`

	Prediction string `json:"prediction,omitempty"` // a class, or a number
	Score      string `json:"score,omitempty"`      // the probability of class 1; what orders the rows of a ranking
	Label      string `json:"label,omitempty"`      // the truth; null while it is not known
	Group      string `json:"group,omitempty"`      // of a ranking: rows of one list have one value
	Time       string `json:"time,omitempty"`       // of the prediction

	// Window is how long the windows are, which begin at multiples of it since 1970; a
	// day if 0. Without Time all rows are one window.
	Window Duration `json:"window,omitzero"`

	// Inputs are the columns that may explain a fall; all others that are numbers,
	// booleans or texts if empty.
	Inputs []string `json:"inputs,omitempty"`

	// Alpha is one minus the confidence of intervals; 0.05 if 0.
	Alpha float64 `json:"alpha,omitempty"`
}

// PerformanceRequest asks how a model does whose predictions the server has.
type PerformanceRequest struct {
	Source DriftSource `json:"source"`

	// Reference has rows with labels from a time when the model did well, such as its
	// test set. Without one, scores are taken for probabilities, and a fall is explained
	// against the first ten windows.
	Reference DriftSource `json:"reference,omitzero"`

	PerformanceOptions
}

// PerformanceReport is how a model does, and why it does worse.
type PerformanceReport struct {
	Source    DriftSide  `json:"source"`
	Reference *DriftSide `json:"reference,omitempty"`
	Task      string     `json:"task"`
	Alpha     float64    `json:"alpha"`

	// Columns say what was asked: which column was what, and the window.
	Columns PerformanceOptions `json:"columns"`

	Windows []PerformanceWindow `json:"windows"` // those with rows, the oldest first
	Metrics []PerformanceChange `json:"metrics"`

	Fell        bool                    `json:"fell"`                  // any metric fell or is worse
	Explanation *PerformanceExplanation `json:"explanation,omitempty"` // of the fall
	Notes       []string                `json:"notes,omitempty"`
}

// PerformanceWindow is one window of predictions.
type PerformanceWindow struct {
	Start   time.Time       `json:"start,omitzero"` // inclusive
	End     time.Time       `json:"end,omitzero"`   // exclusive
	Rows    int64           `json:"rows"`
	Labels  int64           `json:"labels"` // known so far
	Metrics []MetricFigures `json:"metrics"`
}

// MetricFigures are a metric of a window, as far as it can be said.
type MetricFigures struct {
	Metric    string    `json:"metric"`
	Measured  *Interval `json:"measured,omitempty"`  // of the rows with a label
	Estimated *Interval `json:"estimated,omitempty"` // of all rows, without looking at any label of the window
	Combined  *Interval `json:"combined,omitempty"`  // of all rows, if some labels are known: both of the above
}

// Interval is a value with its interval.
type Interval struct {
	Value Number `json:"value"`
	Low   Number `json:"low"`
	High  Number `json:"high"`
	Rows  int64  `json:"rows"` // it rests on; lists, for a ranking
}

// PerformanceChange is what became of a metric.
type PerformanceChange struct {
	Metric string `json:"metric"`
	Higher bool   `json:"higher_is_better"`

	// The rule: the mean of the newest five windows is more than a tenth worse than that of
	// the first ten. NaN, and not fallen, until there are fifteen windows with labels.
	First  Number `json:"first"`
	Recent Number `json:"recent"`
	Fell   bool   `json:"fell"`

	// The rows of the newest five windows with labels (After) against those of the
	// reference, or of the first ten windows (Before): worse if the intervals are apart.
	Before *Interval `json:"before,omitempty"`
	After  *Interval `json:"after,omitempty"`
	Worse  bool      `json:"worse"`
}

// PerformanceExplanation says why a model does worse. Losses are of one row: 1 for a wrong
// class, else the squared error of the score; the absolute error of a regression. Of a
// ranking they are of one list, 1 − NDCG@10, whose inputs are the means of its rows' and
// their most frequent categories, and its length; rows are then lists.
type PerformanceExplanation struct {
	Loss   string `json:"loss"`
	Before Number `json:"before"` // mean losses
	After  Number `json:"after"`

	ReferenceRows int64 `json:"reference_rows"` // that the means are of: all with a loss
	Rows          int64 `json:"rows"`

	// Of how many rows the trees learned what tells the sides apart: all of them, or, of
	// large ones, as many drawn at random.
	FittedReferenceRows int64 `json:"fitted_reference_rows"`
	FittedRows          int64 `json:"fitted_rows"`

	// After − Before is Inputs, which are others than they were, and Relationship: the
	// same inputs have another loss. NaN if either side has fewer than 100 rows.
	Inputs       Interval `json:"inputs"`
	Relationship Interval `json:"relationship"`
	Overlap      Number   `json:"overlap"` // of the inputs of both sides: from 0, nothing is shared, to 1

	Causes   []PerformanceCause   `json:"causes"`   // the largest first
	Segments []PerformanceSegment `json:"segments"` // the worst first
}

// PerformanceCause is how much the mean loss would have changed had this input alone
// changed as it did.
type PerformanceCause struct {
	Column string `json:"column"`
	Change Number `json:"change"`
}

// PerformanceSegment is a set of rows that got worse than all others did.
type PerformanceSegment struct {
	Conditions    []string             `json:"conditions"` // all of them hold
	ReferenceRows int64                `json:"reference_rows"`
	Rows          int64                `json:"rows"`
	Before        Number               `json:"before"` // mean losses
	After         Number               `json:"after"`
	Excess        Interval             `json:"excess"` // how much more the loss rose than elsewhere
	QValue        Number               `json:"q_value"`
	Examples      []PerformanceExample `json:"examples"` // of the greatest loss

	// BeforeExamples has, for each of Examples, the row of before whose inputs are most
	// like its own. Empty without such rows.
	BeforeExamples []PerformanceExample `json:"before_examples,omitempty"`
}

// PerformanceExample is a row of the source, or, of before, of the reference if there is one.
type PerformanceExample struct {
	Row    int64             `json:"row"` // from 0
	Loss   Number            `json:"loss"`
	Values map[string]string `json:"values"`
}
