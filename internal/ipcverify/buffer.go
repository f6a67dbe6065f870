package ipcverify

import (
	"encoding/binary"
	"errors"
	"fmt"
)

var errBounds = errors.New("its metadata points outside itself")

// buffer is a flatbuffer, and how many of its bytes may still be reached.
type buffer struct {
	bytes  []byte
	budget int
}

// table is a checked table: its vtable and its inline bytes are inside the buffer.
type table struct {
	*buffer
	at     int    // position in the buffer
	inline int    // size in bytes, at least 4
	vtable []byte // the offsets of its fields, 2 bytes each
}

func (b *buffer) spend(n int) error {
	if b.budget -= n; b.budget < 0 {
		return errors.New("its metadata refers to the same bytes too often")
	}
	return nil
}

func (b *buffer) root() (table, error) {
	if len(b.bytes) < 8 {
		return table{}, errBounds
	}
	return b.table(0)
}

// follow returns where the reference at a position points to.
func (b *buffer) follow(at int) (int, error) {
	distance := binary.LittleEndian.Uint32(b.bytes[at:])
	target := int64(at) + int64(distance)
	if distance < 4 || target > int64(len(b.bytes)-4) {
		return 0, errBounds
	}
	return int(target), nil
}

// table checks the table that the reference at a position points to.
func (b *buffer) table(reference int) (table, error) {
	at, err := b.follow(reference)
	if err != nil {
		return table{}, err
	}
	start := int64(at) - int64(int32(binary.LittleEndian.Uint32(b.bytes[at:])))
	if start < 0 || start > int64(len(b.bytes)-4) {
		return table{}, errBounds
	}
	size := int64(binary.LittleEndian.Uint16(b.bytes[start:]))
	inline := int(binary.LittleEndian.Uint16(b.bytes[start+2:]))
	if size < 4 || size%2 != 0 || start+size > int64(len(b.bytes)) || inline < 4 || inline > len(b.bytes)-at {
		return table{}, errBounds
	}
	return table{buffer: b, at: at, inline: inline, vtable: b.bytes[start+4 : start+size]}, b.spend(inline)
}

// field returns the position of a field of some width, and whether it is there.
func (t table) field(slot, width int) (at int, present bool, err error) {
	if len(t.vtable) < 2*slot+2 {
		return 0, false, nil
	}
	offset := int(binary.LittleEndian.Uint16(t.vtable[2*slot:]))
	if offset == 0 {
		return 0, false, nil
	}
	if offset < 4 || offset+width > t.inline {
		return 0, false, errBounds
	}
	return t.at + offset, true, nil
}

func (t table) uint8(slot int, absent uint8) (uint8, error) {
	at, present, err := t.field(slot, 1)
	if err != nil || !present {
		return absent, err
	}
	return t.bytes[at], nil
}

func (t table) int16(slot int, absent int16) (int16, error) {
	at, present, err := t.field(slot, 2)
	if err != nil || !present {
		return absent, err
	}
	return int16(binary.LittleEndian.Uint16(t.bytes[at:])), nil
}

func (t table) int32(slot int, absent int32) (int32, error) {
	at, present, err := t.field(slot, 4)
	if err != nil || !present {
		return absent, err
	}
	return int32(binary.LittleEndian.Uint32(t.bytes[at:])), nil
}

func (t table) int64(slot int, absent int64) (int64, error) {
	at, present, err := t.field(slot, 8)
	if err != nil || !present {
		return absent, err
	}
	return int64(binary.LittleEndian.Uint64(t.bytes[at:])), nil
}

// required returns the table that a field refers to.
func (t table) required(slot int, name string) (table, error) {
	child, present, err := t.optional(slot)
	if err == nil && !present {
		err = fmt.Errorf("its metadata has no %s", name)
	}
	return child, err
}

func (t table) optional(slot int) (table, bool, error) {
	at, present, err := t.field(slot, 4)
	if err != nil || !present {
		return table{}, false, err
	}
	child, err := t.table(at)
	return child, true, err
}

// vector returns the elements of a vector field, each of some width in bytes.
func (t table) vector(slot, width int) (start, n int, err error) {
	at, present, err := t.field(slot, 4)
	if err != nil || !present {
		return 0, 0, err
	}
	if at, err = t.follow(at); err != nil {
		return 0, 0, err
	}
	count := int64(binary.LittleEndian.Uint32(t.bytes[at:]))
	start = at + 4
	if count*int64(width) > int64(len(t.bytes)-start) {
		return 0, 0, errBounds
	}
	return start, int(count), t.spend(4 + int(count)*width)
}

func (t table) string(slot int) (string, error) {
	start, n, err := t.vector(slot, 1)
	if err != nil {
		return "", err
	}
	return string(t.bytes[start : start+n]), nil
}

// tables visits the tables of a vector of references.
func (t table) tables(slot int, visit func(i int, child table) error) error {
	start, n, err := t.vector(slot, 4)
	if err != nil {
		return err
	}
	for i := range n {
		child, err := t.table(start + 4*i)
		if err != nil {
			return err
		}
		if err := visit(i, child); err != nil {
			return err
		}
	}
	return nil
}
