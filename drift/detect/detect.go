package detect

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

// State is what a detector says of the stream after a value.
type State uint8

// The states. Only DDM, EDDM and HDDM warn; a warning is no promise.
const (
	Stable State = iota
	Warning
	Change
)

func (s State) String() string { return [...]string{"stable", "warning", "change"}[s] }

// Detector watches one stream of numbers; [New] makes one.
type Detector struct {
	kind   Kind
	values []float64 // of the kind's parameters
	core   core
}

// core is what the kinds differ in.
type core interface {
	update(x float64) State // x is finite
	behind() int            // see [Detector.Since]
	visit(c *coder)         // writes or reads the state, parameters not among it
}

// Update takes in the next value.
func (d *Detector) Update(x float64) State {
	if x-x != 0 { // not finite
		return Stable
	}
	return d.core.update(x)
}

// Since is how many values, at the last Change, came after the place where the stream
// most likely changed; 0 before the first Change, and always for EDDM.
func (d *Detector) Since() int { return d.core.behind() }

// Kind returns the kind of the detector.
func (d *Detector) Kind() Kind { return d.kind }

// Parameters returns the values of all the kind's parameters, by name.
func (d *Detector) Parameters() map[string]float64 {
	values := map[string]float64{}
	for i, p := range d.kind.Parameters {
		values[p.Name] = d.values[i]
	}
	return values
}

// Default is the kind to use unless there is a reason for another one.
const Default = "scan"

// Kind describes a kind of detector.
type Kind struct {
	Name       string
	About      string // in a line
	Binary     bool   // takes errors: 1 for a wrong answer, 0 for a right one
	Parameters []Parameter

	build func(value func(string) float64) (core, error)
}

// Parameter is a number that a kind is set by.
type Parameter struct {
	Name      string
	About     string
	Default   float64
	Low, High float64 // inclusive
	Whole     bool    // a whole number
}

// Kinds lists all kinds, the default one first.
func Kinds() []Kind { return slices.Clone(kinds) }

// kinds is set once, and never changed.
var kinds = []Kind{scanKind, adwinKind, ddmKind, eddmKind, hddmAKind, hddmWKind, pageHinkleyKind, cusumKind, kswinKind}

// New makes a detector of a kind. Parameters that are not given have their defaults.
// It fails if the kind or a parameter is unknown, or a value is out of its range.
func New(kind string, parameters map[string]float64) (*Detector, error) {
	i := slices.IndexFunc(kinds, func(k Kind) bool { return k.Name == kind })
	if i < 0 {
		names := make([]string, len(kinds))
		for i, k := range kinds {
			names[i] = k.Name
		}
		return nil, fmt.Errorf("detector %q is not known; there are %s", kind, strings.Join(names, ", "))
	}
	d := &Detector{kind: kinds[i]}
	err := d.set(parameters)
	if err == nil {
		d.core, err = d.kind.build(func(name string) float64 { return d.values[d.kind.parameter(name)] })
	}
	if err != nil {
		return nil, fmt.Errorf("detector %s: %w", kind, err)
	}
	return d, nil
}

// set completes and checks parameters.
func (d *Detector) set(given map[string]float64) error {
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if d.kind.parameter(name) < 0 {
			return fmt.Errorf("there is no parameter %q; there are %s", name, strings.Join(d.kind.parameterNames(), ", "))
		}
	}
	for _, p := range d.kind.Parameters {
		v, ok := given[p.Name]
		if !ok {
			v = p.Default
		}
		if !(v >= p.Low && v <= p.High) || p.Whole && v != math.Trunc(v) {
			return fmt.Errorf("%s is %v, want %s", p.Name, v, p.wanted())
		}
		d.values = append(d.values, v)
	}
	return nil
}

func (k Kind) parameter(name string) int {
	return slices.IndexFunc(k.Parameters, func(p Parameter) bool { return p.Name == name })
}

func (p Parameter) wanted() string {
	kind := "a number"
	if p.Whole {
		kind = "a whole number"
	}
	return fmt.Sprintf("%s from %v to %v", kind, p.Low, p.High)
}

func (k Kind) parameterNames() (names []string) {
	for _, p := range k.Parameters {
		names = append(names, p.Name)
	}
	return names
}

// mean is a running mean; its updates round as the kinds' publications and peers do.
type mean struct{ n, value float64 }

func (m *mean) update(x float64) {
	m.n++
	m.value += (x - m.value) / m.n
}
