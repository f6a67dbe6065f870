package drift

// Sample is a sample of real numbers in one or more pieces, as columns arrive in
// batches. Order and the cut into pieces mean nothing. NaN marks a missing value.
type Sample [][]float64

// SampleOf returns the sample that consists of values. It shares their memory.
func SampleOf(values []float64) Sample { return Sample{values} }

// Len returns the number of elements, missing ones included.
func (s Sample) Len() int {
	length := 0
	for _, piece := range s {
		length += len(piece)
	}
	return length
}

// Missing returns how many elements are missing.
func (s Sample) Missing() int64 {
	missing := int64(0)
	for _, piece := range s {
		for _, v := range piece {
			if v != v {
				missing++
			}
		}
	}
	return missing
}

// present returns a copy of the values that are not missing.
func (s Sample) present() []float64 {
	values := make([]float64, 0, s.Len())
	for _, piece := range s {
		for _, v := range piece {
			if v == v {
				values = append(values, v)
			}
		}
	}
	return values
}

// strided appends to values at most limit elements, evenly spread over the
// sample, leaving out missing ones.
func (s Sample) strided(values []float64, limit int) []float64 {
	stride := max(1, (s.Len()+limit-1)/limit)
	next := 0
	for _, piece := range s {
		for ; next < len(piece); next += stride {
			if v := piece[next]; v == v {
				values = append(values, v)
			}
		}
		next -= len(piece)
	}
	return values
}
