package detect

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// stateVersion is that of what is written. Version 1, which has no levels of scan that are near
// a change, is read too.
const stateVersion = 2

// Append appends the detector and its state to b.
//
//	version (1) │ length of the kind's name, name │ parameters │ state
//
// Parameters and numbers of the state are 64-bit floats in the order of their kind;
// whole numbers are unsigned varints. All of it is little-endian.
func (d *Detector) Append(b []byte) []byte {
	b = append(b, stateVersion)
	b = binary.AppendUvarint(b, uint64(len(d.kind.Name)))
	b = append(b, d.kind.Name...)
	c := &coder{bytes: b, version: stateVersion}
	for i := range d.values {
		c.float(&d.values[i])
	}
	d.core.visit(c)
	return c.bytes
}

// Decode reads what Append wrote. It fails on anything else that it can tell from that.
func Decode(b []byte) (*Detector, error) {
	c := &coder{bytes: b, reading: true}
	length := 0
	if c.whole(&c.version, math.MaxInt); c.err == nil && (c.version < 1 || c.version > stateVersion) {
		return nil, fmt.Errorf("the detector's state has version %d, want %d at most", c.version, stateVersion)
	}
	c.whole(&length, len(c.bytes))
	name := string(c.next(length))
	d, err := New(name, nil)
	if c.err != nil || err != nil {
		return nil, fmt.Errorf("the detector's state is damaged: %w", errors.Join(c.err, err))
	}
	parameters := map[string]float64{}
	for _, p := range d.kind.Parameters {
		v := 0.0
		c.float(&v)
		parameters[p.Name] = v
	}
	if d, err = New(name, parameters); c.err == nil && err == nil {
		d.core.visit(c)
	}
	if c.err == nil && err == nil && len(c.bytes) > 0 {
		c.fail(fmt.Sprintf("%d bytes are left over", len(c.bytes)))
	}
	if err := errors.Join(c.err, err); err != nil {
		return nil, fmt.Errorf("the detector's state is damaged: %w", err)
	}
	return d, nil
}

// coder writes values at the end of bytes, or reads them from its beginning. So one walk
// over a state serves both ways. After an error it reads zeros.
type coder struct {
	bytes   []byte
	version int
	reading bool
	err     error
}

func (c *coder) fail(reason string) {
	if c.err == nil {
		c.err = errors.New(reason)
	}
}

// next takes off the first n bytes.
func (c *coder) next(n int) []byte {
	if n > len(c.bytes) {
		c.fail("it ends too early")
		c.bytes = nil
		return make([]byte, n)
	}
	taken := c.bytes[:n]
	c.bytes = c.bytes[n:]
	return taken
}

func (c *coder) float(v *float64) {
	if !c.reading {
		c.bytes = binary.LittleEndian.AppendUint64(c.bytes, math.Float64bits(*v))
		return
	}
	*v = math.Float64frombits(binary.LittleEndian.Uint64(c.next(8)))
}

func (c *coder) floats(values ...*float64) {
	for _, v := range values {
		c.float(v)
	}
}

func (c *coder) word(v *uint32) {
	if !c.reading {
		c.bytes = binary.LittleEndian.AppendUint32(c.bytes, *v)
		return
	}
	*v = binary.LittleEndian.Uint32(c.next(4))
}

// whole is a number from 0 to most.
func (c *coder) whole(v *int, most int) {
	if !c.reading {
		c.bytes = binary.AppendUvarint(c.bytes, uint64(*v))
		return
	}
	read, length := binary.Uvarint(c.bytes)
	if length <= 0 || read > uint64(most) {
		c.fail("a number is missing or too large")
		c.bytes, *v = nil, 0
		return
	}
	c.bytes, *v = c.bytes[length:], int(read)
}

func (c *coder) flag(v *bool) {
	bit := 0
	if *v {
		bit = 1
	}
	c.whole(&bit, 1)
	*v = bit == 1
}
