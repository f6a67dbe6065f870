package driftline

// OnDemandFeatureView computes features, at the moment that they are asked for, from the
// features of other views and from what the request itself brings: the distance of a trip,
// the amount of a payment. It holds no rows. Its expressions mean the same in a training
// set, where request data are columns of the spine, and online, where they come with the
// entities.
type OnDemandFeatureView struct {
	Name ViewName `json:"name"`

	// Sources are the views whose features the expressions read, by name or, where two
	// sources have a feature of the same name, as view.feature or role.feature.
	Sources []Projection `json:"sources"`

	// Request are the columns that each row of a request brings.
	Request []Field `json:"request,omitempty"`

	Features []OnDemandFeature `json:"features"`

	Description string            `json:"description,omitempty"`
	Owner       string            `json:"owner,omitempty"`
	Tags        map[string]string `json:"tags,omitempty"`
}

// OnDemandFeature is a feature that is computed.
type OnDemandFeature struct {
	Name string `json:"name"`

	// Expression is SQL, of the subset that package expression describes.
	Expression string `json:"expression"`

	// Type is that of the expression's values. The catalogue fills it in; a definition
	// that says one must say that one.
	Type Type `json:"type,omitempty"`

	Description string `json:"description,omitempty"`
}

// Feature returns the feature of that name.
func (v *OnDemandFeatureView) Feature(name string) (OnDemandFeature, bool) {
	for _, f := range v.Features {
		if f.Name == name {
			return f, true
		}
	}
	return OnDemandFeature{}, false
}

// FeatureNames returns the names of the view's features in order.
func (v *OnDemandFeatureView) FeatureNames() []string {
	names := make([]string, len(v.Features))
	for i, f := range v.Features {
		names[i] = f.Name
	}
	return names
}
