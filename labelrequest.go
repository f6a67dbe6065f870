package driftline

import "time"

// LabelRequest asks which predictions somebody should look at, for whom there is no label yet.
type LabelRequest struct {
	// Budget is how many are asked for; 100 if 0.
	Budget int `json:"budget,omitempty"`

	By LabelChoice `json:"by,omitempty"` // both if left out

	Since time.Time `json:"since,omitzero"` // only predictions made since then

	// SaveAs is the dataset that they become the next version of; the model's name and _to_label
	// if empty. What an earlier version asked for is not asked for again.
	SaveAs DatasetName `json:"save_as,omitempty"`
}

// LabelChoice says which predictions are worth a label.
type LabelChoice string

// The choices.
const (
	// ChooseUncertain: the scores nearest to one half, and those where another arm differed.
	ChooseUncertain LabelChoice = "uncertain"

	// ChooseDrifted: the features least like those of the predictions that have a label: by how many
	// quartile ranges numbers are from the median, and by texts that were never seen.
	ChooseDrifted LabelChoice = "drifted"

	ChooseBoth LabelChoice = "both" // by turns
)

// LabelChoices lists all of them.
var LabelChoices = []LabelChoice{ChooseUncertain, ChooseDrifted, ChooseBoth}

// LabelAsk is what was asked: a dataset of predictions with their features, one row each. The answers
// go in as labels, by prediction_id.
type LabelAsk struct {
	Model   ModelName `json:"model"`
	Dataset Ref       `json:"dataset"`
	Rows    int64     `json:"rows"`
}
