package columns

import (
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/bitutil"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
)

// Words returns the rows from from to to of a column of text or bytes as an Arrow dictionary:
// the one of the file, if all of the rows are in pages that are written with it. For rows
// that are not it returns nil, and [Reader.Array] has them. The caller releases the result,
// and need not keep the file open until then. Who goes back and forth between the two has pages
// decoded twice.
func (r *Reader) Words(mem memory.Allocator, from, to int) (arrow.Array, error) {
	switch r.leaf.Type.ID() {
	case arrow.STRING, arrow.BINARY:
	default:
		return nil, nil
	}
	if !r.places {
		r.places, r.page = true, Page{} // which may be in the other form
	}
	first, err := r.find(from, to)
	if err != nil || first.Places == nil {
		return nil, err
	}
	values, valid := allocate(mem, 4*(to-from)), validity{mem: mem, rows: to - from}
	defer values.Release()
	defer valid.release()
	at, plain := arrow.Int32Traits.CastFromBytes(values.Bytes()), false
	err = r.pages(from, to, func(p *Page, row, first, n int) error {
		if plain = plain || p.Places == nil; plain {
			return nil
		}
		copy(at[row:], p.Places[first:first+n])
		valid.add(p, row, first, n)
		return nil
	})
	if err != nil || plain {
		return nil, err
	}
	words, err := r.wordsArray()
	if err != nil {
		return nil, err
	}
	dt := &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int32, ValueType: r.leaf.Type}
	data := array.NewDataWithDictionary(dt, to-from, []*memory.Buffer{valid.bits, values}, valid.nulls, 0, words.Data().(*array.Data))
	defer data.Release()
	return array.NewDictionaryData(data), nil
}

// wordsArray returns the dictionary as an array, whose memory is Go's own: several batches
// have it.
func (r *Reader) wordsArray() (arrow.Array, error) {
	if r.words.array != nil {
		return r.words.array, nil
	}
	ends, text := make([]int32, 1, r.words.n+1), []byte{}
	for _, s := range r.words.spans {
		if len(text)+int(s.Len) > 1<<31-1 {
			return nil, fmt.Errorf("%w: the dictionary of column %q is too long", errDamaged, r.leaf.Name)
		}
		text = append(text, r.words.page[s.At:][:s.Len]...)
		ends = append(ends, int32(len(text)))
	}
	data := array.NewData(r.leaf.Type, r.words.n, []*memory.Buffer{nil,
		memory.NewBufferBytes(arrow.Int32Traits.CastToBytes(ends)), memory.NewBufferBytes(text)}, nil, 0, 0)
	r.words.array = array.MakeFromData(data)
	return r.words.array, nil
}

// readPlaces reads places in the dictionary as they are.
func (r *Reader) readPlaces(h hybrid, present int) error {
	places, err := r.unpackPlaces(h, present)
	if err == nil {
		r.page.Places = spreadPlaces(&r.page, places)
	}
	return err
}

// unpackPlaces returns the next places in the dictionary, all of which it has. There is room
// for one in each row.
func (r *Reader) unpackPlaces(h hybrid, present int) ([]int32, error) {
	r.spots = sized(r.spots, r.page.Rows)
	places := r.spots[:present]
	for left := places; len(left) > 0; {
		n, value, packed, err := h.next()
		if err != nil {
			return nil, err
		}
		if n == 0 {
			return nil, errDamaged
		}
		n = min(n, len(left))
		if packed {
			h.unpack(left[:n])
		} else {
			for i := range n {
				left[i] = int32(value)
			}
		}
		left = left[n:]
	}
	most := uint32(0)
	for _, place := range places {
		most = max(most, uint32(place))
	}
	if present > 0 && int64(most) >= int64(r.words.n) {
		return nil, errDamaged
	}
	return places, nil
}

func spreadPlaces(p *Page, places []int32) []int32 {
	if p.Valid == nil {
		return places
	}
	from := len(places) - 1
	places = places[:p.Rows]
	for i := p.Rows - 1; i >= 0; i-- {
		if bitutil.BitIsSet(p.Valid, i) {
			places[i] = places[from]
			from--
		} else {
			places[i] = 0
		}
	}
	return places
}

// Cheap reports whether single rows of a column of a row group can be had without decoding
// all of it: it has no page of an encoding that the Parquet library reads for us.
func (f *File) Cheap(group, leaf int) bool {
	m, err := f.meta.RowGroup(group).ColumnChunk(f.leaves[leaf].column)
	if err != nil {
		return false
	}
	r := Reader{leaf: &f.leaves[leaf]}
	for _, encoding := range m.Encodings() {
		switch encoding {
		case parquet.Encodings.RLE, parquet.Encodings.BitPacked: // of levels
		case parquet.Encodings.Plain, parquet.Encodings.PlainDict, parquet.Encodings.RLEDict, parquet.Encodings.DeltaBinaryPacked:
			if !r.understands(int(encoding)) {
				return false
			}
		default:
			return false
		}
	}
	return true
}
