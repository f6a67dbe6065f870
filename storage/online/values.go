package online

import (
	"math"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/bitutil"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/driftline/driftline"
)

// Values is a table of feature values, one column per feature and one row per entity
// asked for. All of it is a few flat pieces of memory, however many columns there are.
// A cell is null until it is set.
//
// A cell's word is the value of a bool (0, 1), an int32 or int64 (two's complement), a
// float32 or float64 (the bits of the float64) or a timestamp (microseconds); of a string
// or bytes it says where the text is, see [Values.Text].
type Values struct {
	types []driftline.Type
	rows  int
	words []uint64 // column after column
	valid []byte   // a bitmap per column, each of stride bytes
	texts []byte

	stride int
}

// maxCells bounds a table, since its memory is what a request makes the server take.
const maxCells = 1 << 25

// NewValues returns a table of nulls.
func NewValues(types []driftline.Type, rows int) (*Values, error) {
	if rows > 0 && len(types) > maxCells/rows {
		return nil, driftline.Errorf(driftline.Exhausted, "%d features of %d entities are asked for at once", len(types), rows).
			WithHint("ask for at most %d entities at a time", maxCells/len(types))
	}
	stride := int(bitutil.BytesForBits(int64(rows)))
	return &Values{
		types: types, rows: rows, stride: stride,
		words: make([]uint64, len(types)*rows), valid: make([]byte, len(types)*stride),
	}, nil
}

// Rows is the number of entities.
func (v *Values) Rows() int { return v.rows }

// IsNull reports whether a cell is null.
func (v *Values) IsNull(column, row int) bool {
	return v.valid[column*v.stride+row/8]&(1<<(row%8)) == 0
}

// Word is the value of a cell that is not null.
func (v *Values) Word(column, row int) uint64 { return v.words[column*v.rows+row] }

// Text is the value of a cell of a string or bytes that is not null. It stays as it is
// as long as it is not written to.
func (v *Values) Text(column, row int) []byte {
	word := v.Word(column, row)
	start, end := word>>32, word>>32+word&math.MaxUint32
	return v.texts[start:end:end]
}

// SetNull makes a cell null.
func (v *Values) SetNull(column, row int) {
	v.valid[column*v.stride+row/8] &^= 1 << (row % 8)
	v.words[column*v.rows+row] = 0
}

// SetWord gives a cell a value.
func (v *Values) SetWord(column, row int, word uint64) {
	v.valid[column*v.stride+row/8] |= 1 << (row % 8)
	v.words[column*v.rows+row] = word
}

// SetText gives a cell of a string or bytes a value, of which it keeps a copy.
func (v *Values) SetText(column, row int, text []byte) error {
	if len(v.texts)+len(text) > math.MaxUint32 {
		return driftline.Errorf(driftline.Exhausted, "the values asked for are larger than 4 GiB").
			WithHint("ask for fewer entities at a time")
	}
	v.SetWord(column, row, uint64(len(v.texts))<<32|uint64(len(text)))
	v.texts = append(v.texts, text...)
	return nil
}

// SetFrom gives a cell the value of an array of the column's type.
func (v *Values) SetFrom(column, row int, from arrow.Array, at int) error {
	if from.IsNull(at) {
		v.SetNull(column, row)
		return nil
	}
	switch a := from.(type) {
	case *array.Boolean:
		word := uint64(0)
		if a.Value(at) {
			word = 1
		}
		v.SetWord(column, row, word)
	case *array.Int32:
		v.SetWord(column, row, uint64(a.Value(at)))
	case *array.Int64:
		v.SetWord(column, row, uint64(a.Value(at)))
	case *array.Float32:
		v.SetWord(column, row, math.Float64bits(float64(a.Value(at))))
	case *array.Float64:
		v.SetWord(column, row, math.Float64bits(a.Value(at)))
	case *array.Timestamp:
		v.SetWord(column, row, uint64(a.Value(at)))
	case *array.String:
		return v.SetText(column, row, []byte(a.Value(at)))
	case *array.Binary:
		return v.SetText(column, row, a.Value(at))
	default:
		return driftline.Errorf(driftline.Internal, "no online values of type %s", from.DataType())
	}
	return nil
}

// Arrays returns the table as Arrow, an array per column. Values of eight bytes are not
// copied: neither the arrays nor the table may be written to from then on. The caller
// releases the arrays.
func (v *Values) Arrays() ([]arrow.Array, error) {
	const kinds = 3 // of buffers: validity, values or offsets, texts
	arrays := make([]arrow.Array, len(v.types))
	data := make([]array.Data, len(v.types))
	buffers := make([]memory.Buffer, kinds*len(v.types))
	used := make([]*memory.Buffer, kinds*len(v.types))
	for c, t := range v.types {
		buffers, used := buffers[kinds*c:kinds*(c+1)], used[kinds*c:kinds*(c+1):kinds*(c+1)]
		nulls := v.rows - bitutil.CountSetBits(v.valid[c*v.stride:], 0, v.rows)
		if nulls > 0 {
			buffers[0].Reset(v.valid[c*v.stride : (c+1)*v.stride : (c+1)*v.stride])
			used[0] = &buffers[0]
		}
		last := 2
		if isText(t) {
			last = 3
			offsets, texts, err := v.textBuffers(c)
			if err != nil {
				return nil, err // what was made holds memory of Go's only
			}
			buffers[1].Reset(arrow.Int32Traits.CastToBytes(offsets))
			buffers[2].Reset(texts)
			used[2] = &buffers[2]
		} else {
			buffers[1].Reset(v.valueBuffer(c))
		}
		used[1] = &buffers[1]
		data[c].Reset(t.Arrow(), v.rows, used[:last:last], nil, nulls, 0)
		data[c].Retain()
		arrays[c] = array.MakeFromData(&data[c])
		data[c].Release()
	}
	return arrays, nil
}

// valueBuffer is a column of fixed width in Arrow's form.
func (v *Values) valueBuffer(column int) []byte {
	words := v.words[column*v.rows : (column+1)*v.rows : (column+1)*v.rows]
	switch v.types[column] {
	case driftline.Bool:
		bits := make([]byte, v.stride)
		for row, word := range words {
			bits[row/8] |= byte(word&1) << (row % 8)
		}
		return bits
	case driftline.Int32:
		values := make([]int32, v.rows)
		for row, word := range words {
			values[row] = int32(word)
		}
		return arrow.Int32Traits.CastToBytes(values)
	case driftline.Float32:
		values := make([]float32, v.rows)
		for row, word := range words {
			values[row] = float32(math.Float64frombits(word))
		}
		return arrow.Float32Traits.CastToBytes(values)
	}
	return arrow.Uint64Traits.CastToBytes(words)
}

// textBuffers is a column of strings or bytes in Arrow's form.
func (v *Values) textBuffers(column int) (offsets []int32, texts []byte, err error) {
	offsets = make([]int32, v.rows+1)
	for row := range v.rows {
		if !v.IsNull(column, row) {
			texts = append(texts, v.Text(column, row)...)
		}
		if len(texts) > math.MaxInt32 {
			return nil, nil, driftline.Errorf(driftline.Exhausted, "the values of one feature are larger than 2 GiB").
				WithHint("ask for fewer entities at a time")
		}
		offsets[row+1] = int32(len(texts))
	}
	return offsets, texts, nil
}
