package driftline

import (
	"cmp"
	"slices"
	"time"
)

// Preset is a named set of rules of a comparison: which tests columns get, and when they
// have drifted. It is registered like a monitor, and named wherever [DriftOptions] are.
type Preset struct {
	Name PresetName `json:"name"`

	// Base is the preset whose rules hold where this one says nothing: "driftline" (the
	// default), "evidently" or "nannyml".
	Base string `json:"base,omitempty"`

	// Tests, and the fields below, are as in [DriftOptions]. What a comparison asks for
	// itself counts more.
	Tests        []ColumnTest `json:"tests,omitempty"`
	Exclude      []string     `json:"exclude,omitempty"` // that the tables need not have
	Alpha        float64      `json:"alpha,omitempty"`
	Correction   string       `json:"correction,omitempty"`
	Margin       *float64     `json:"margin,omitempty"`
	DriftShare   *float64     `json:"drift_share,omitempty"`
	Multivariate []string     `json:"multivariate,omitempty"`

	Description string            `json:"description,omitempty"`
	Owner       string            `json:"owner,omitempty"`
	Tags        map[string]string `json:"tags,omitempty"`

	// Version counts the definitions that the preset has had, from 1, and Created is when
	// the first was applied. Both are filled in by the catalogue.
	Version int       `json:"version,omitempty"`
	Created time.Time `json:"created,omitzero"`
}

// The presets that need not be registered.
const (
	PresetDriftline = "driftline"
	PresetEvidently = "evidently"
	PresetNannyML   = "nannyml"
)

// BuiltInPresets lists them.
var BuiltInPresets = []string{PresetDriftline, PresetEvidently, PresetNannyML}

// IsBuiltInPreset reports whether a preset's name is one of them, or empty.
func IsBuiltInPreset(name string) bool { return name == "" || slices.Contains(BuiltInPresets, name) }

// Ref names the version of the preset.
func (p *Preset) Ref() Ref { return PresetRef(p.Name, p.Version) }

// Completed returns options that say what asked does and, where that is silent, what the
// preset says, without its tests and columns: those hold where the tables have them.
func (p *Preset) Completed(asked DriftOptions) DriftOptions {
	asked.Preset = cmp.Or(p.Base, PresetDriftline)
	asked.Alpha, asked.Correction = cmp.Or(asked.Alpha, p.Alpha), cmp.Or(asked.Correction, p.Correction)
	asked.Margin, asked.DriftShare = cmp.Or(asked.Margin, p.Margin), cmp.Or(asked.DriftShare, p.DriftShare)
	if len(asked.Multivariate) == 0 {
		asked.Multivariate = p.Multivariate
	}
	return asked
}
