package driftline

// PredictionReceipt is what became of predictions that were sent.
type PredictionReceipt struct {
	Model       ModelName `json:"model"`
	Log         ViewName  `json:"log"`
	Predictions int       `json:"predictions"` // that were taken in

	// IDs are those of the predictions, in their order: those that had none got one. Labels name
	// predictions by it. Empty for events, which have their own, and for rows of Arrow that all had one.
	IDs []string `json:"ids,omitempty"`

	// Waiting are events whose other half, the request or the response, did not come yet.
	Waiting int `json:"waiting,omitempty"`
}
