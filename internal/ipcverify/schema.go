package ipcverify

import (
	"fmt"
)

// schema checks Schema { endianness, fields, custom_metadata, features } and
// keeps the layout of its columns.
func (s *Stream) schema(header table) error {
	endianness, err := header.int16(0, 0)
	if err != nil {
		return err
	}
	if endianness != 0 {
		return fmt.Errorf("its data is big-endian")
	}
	if err := keyValues(header, 2); err != nil {
		return err
	}
	if _, _, err := header.vector(3, 8); err != nil {
		return err
	}
	s.dictionaries = make(map[int64]layout)
	fields := &fieldVerifier{dictionaries: s.dictionaries}
	return header.tables(1, func(_ int, field table) error {
		column, err := fields.verify(field, 1)
		s.columns = append(s.columns, column)
		return err
	})
}

// fieldVerifier walks the fields of one schema.
type fieldVerifier struct {
	fields       int
	dictionaries map[int64]layout
}

// verify checks Field { name, nullable, type_type, type, dictionary, children, custom_metadata }.
func (v *fieldVerifier) verify(field table, depth int) (layout, error) {
	if v.fields++; v.fields > MaxFields {
		return layout{}, fmt.Errorf("its schema has more than %d fields", MaxFields)
	}
	if depth > MaxDepth {
		return layout{}, fmt.Errorf("its fields are nested more than %d deep", MaxDepth)
	}
	name, err := field.string(0)
	if err != nil {
		return layout{}, err
	}
	if len(name) > MaxName {
		return layout{}, fmt.Errorf("a field's name has %d bytes, more than %d", len(name), MaxName)
	}
	if _, err := field.uint8(1, 0); err != nil {
		return layout{}, err
	}
	if err := keyValues(field, 6); err != nil {
		return layout{}, err
	}
	values, err := v.fieldType(field, depth)
	if err != nil {
		return layout{}, fmt.Errorf("column %q: %w", name, err)
	}
	encoding, encoded, err := field.optional(4)
	if err != nil || !encoded {
		return values, err
	}
	if err := v.dictionary(encoding, values); err != nil {
		return layout{}, fmt.Errorf("column %q: %w", name, err)
	}
	return layout{nodes: 1, buffers: 2}, nil
}

// dictionary checks DictionaryEncoding { id, indexType, isOrdered, dictionaryKind }.
func (v *fieldVerifier) dictionary(encoding table, values layout) error {
	if values.nodes != 1 {
		return fmt.Errorf("a dictionary of nested values is not accepted")
	}
	id, err := encoding.int64(0, 0)
	if err != nil {
		return err
	}
	index, err := encoding.required(1, "index type")
	if err != nil {
		return err
	}
	if err := integer(index); err != nil {
		return err
	}
	if _, err := encoding.uint8(2, 0); err != nil {
		return err
	}
	if kind, err := encoding.int16(3, 0); err != nil || kind != 0 {
		return fmt.Errorf("dictionary kind %d is not known", kind)
	}
	if known, used := v.dictionaries[id]; used && known != values {
		return fmt.Errorf("dictionary %d is used for two types", id)
	}
	v.dictionaries[id] = values
	return nil
}

// The members of the union Type that are accepted.
const (
	typeNull            = 1
	typeInt             = 2
	typeFloatingPoint   = 3
	typeBinary          = 4
	typeUtf8            = 5
	typeBool            = 6
	typeDecimal         = 7
	typeDate            = 8
	typeTime            = 9
	typeTimestamp       = 10
	typeInterval        = 11
	typeList            = 12
	typeStruct          = 13
	typeFixedSizeBinary = 15
	typeFixedSizeList   = 16
	typeMap             = 17
	typeDuration        = 18
	typeLargeBinary     = 19
	typeLargeUtf8       = 20
	typeLargeList       = 21
	typeBinaryView      = 23
	typeUtf8View        = 24
)

var refused = map[uint8]string{
	14: "a union",
	22: "run-end encoded",
	25: "a list view",
	26: "a list view",
}

// kindOfType says, for each accepted type, how many children it has (-1: any
// number), what it has in a batch itself, and what else is to be checked.
var kindOfType = map[uint8]struct {
	children int
	own      layout
	check    func(table) error
}{
	typeNull:            {0, layout{nodes: 1}, nil},
	typeInt:             {0, layout{nodes: 1, buffers: 2}, integer},
	typeFloatingPoint:   {0, layout{nodes: 1, buffers: 2}, enumeration(0, 0, 2)},
	typeBinary:          {0, layout{nodes: 1, buffers: 3}, nil},
	typeUtf8:            {0, layout{nodes: 1, buffers: 3}, nil},
	typeBool:            {0, layout{nodes: 1, buffers: 2}, nil},
	typeDecimal:         {0, layout{nodes: 1, buffers: 2}, decimal},
	typeDate:            {0, layout{nodes: 1, buffers: 2}, enumeration(0, 1, 1)},
	typeTime:            {0, layout{nodes: 1, buffers: 2}, clockTime},
	typeTimestamp:       {0, layout{nodes: 1, buffers: 2}, timestamp},
	typeInterval:        {0, layout{nodes: 1, buffers: 2}, enumeration(0, 0, 2)},
	typeList:            {1, layout{nodes: 1, buffers: 2}, nil},
	typeStruct:          {-1, layout{nodes: 1, buffers: 1}, nil},
	typeFixedSizeBinary: {0, layout{nodes: 1, buffers: 2}, fixedSize},
	typeFixedSizeList:   {1, layout{nodes: 1, buffers: 1}, fixedSize},
	typeMap:             {1, layout{nodes: 1, buffers: 2}, flag},
	typeDuration:        {0, layout{nodes: 1, buffers: 2}, enumeration(0, 1, 3)},
	typeLargeBinary:     {0, layout{nodes: 1, buffers: 3}, nil},
	typeLargeUtf8:       {0, layout{nodes: 1, buffers: 3}, nil},
	typeLargeList:       {1, layout{nodes: 1, buffers: 2}, nil},
	typeBinaryView:      {0, layout{nodes: 1, buffers: 2, views: 1}, nil},
	typeUtf8View:        {0, layout{nodes: 1, buffers: 2, views: 1}, nil},
}

func (v *fieldVerifier) fieldType(field table, depth int) (layout, error) {
	id, err := field.uint8(2, 0)
	if err != nil {
		return layout{}, err
	}
	kind, accepted := kindOfType[id]
	if !accepted {
		if name, known := refused[id]; known {
			return layout{}, fmt.Errorf("%s is not accepted; convert the column first", name)
		}
		return layout{}, fmt.Errorf("type %d is not known", id)
	}
	parameters, err := field.required(3, "type")
	if err != nil {
		return layout{}, err
	}
	if kind.check != nil {
		if err := kind.check(parameters); err != nil {
			return layout{}, err
		}
	}
	total, children := kind.own, 0
	err = field.tables(5, func(_ int, child table) error {
		children++
		inner, err := v.verify(child, depth+1)
		total.nodes += inner.nodes
		total.buffers += inner.buffers
		total.views += inner.views
		return err
	})
	if err == nil && kind.children >= 0 && children != kind.children {
		err = fmt.Errorf("type %d has %d children", id, children)
	}
	return total, err
}

// enumeration checks an int16 parameter that is 0 to most.
func enumeration(slot int, absent, most int16) func(table) error {
	return func(t table) error {
		value, err := t.int16(slot, absent)
		if err == nil && (value < 0 || value > most) {
			err = fmt.Errorf("type parameter %d is not known", value)
		}
		return err
	}
}

// flag checks a boolean parameter.
func flag(t table) error {
	_, err := t.uint8(0, 0)
	return err
}

// integer checks Int { bitWidth, is_signed }.
func integer(t table) error {
	width, err := t.int32(0, 0)
	if err != nil {
		return err
	}
	switch width {
	case 8, 16, 32, 64:
	default:
		return fmt.Errorf("integers of %d bits are not known", width)
	}
	_, err = t.uint8(1, 0)
	return err
}

// decimal checks Decimal { precision, scale, bitWidth }.
func decimal(t table) error {
	precision, err := t.int32(0, 0)
	if err != nil {
		return err
	}
	scale, err := t.int32(1, 0)
	if err != nil {
		return err
	}
	width, err := t.int32(2, 128)
	if err != nil {
		return err
	}
	switch width {
	case 32, 64, 128, 256:
	default:
		return fmt.Errorf("decimals of %d bits are not known", width)
	}
	if precision < 1 || precision > 76 || scale < -76 || scale > 76 {
		return fmt.Errorf("decimal(%d, %d) is not known", precision, scale)
	}
	return nil
}

// clockTime checks Time { unit, bitWidth }.
func clockTime(t table) error {
	width, err := t.int32(1, 32)
	if err != nil {
		return err
	}
	if width != 32 && width != 64 {
		return fmt.Errorf("times of %d bits are not known", width)
	}
	return enumeration(0, 1, 3)(t)
}

// timestamp checks Timestamp { unit, timezone }.
func timestamp(t table) error {
	if _, err := t.string(1); err != nil {
		return err
	}
	return enumeration(0, 0, 3)(t)
}

// fixedSize checks FixedSizeBinary { byteWidth } and FixedSizeList { listSize }.
func fixedSize(t table) error {
	const most = 1 << 16
	size, err := t.int32(0, 0)
	if err == nil && (size < 1 || size > most) {
		err = fmt.Errorf("a fixed size of %d is not between 1 and %d", size, most)
	}
	return err
}
