package columns

import "encoding/binary"

// deltas decodes Parquet's DELTA_BINARY_PACKED encoding of whole numbers:
//
//	block size │ miniblocks in a block │ numbers │ first number     varints, the last zigzag
//	least delta │ width of each miniblock │ miniblock … miniblock   a block: zigzag, bytes, bits
//
// A number is the one before it plus the least delta of its block plus what its
// miniblock has for it, in so many bits. Sums wrap around.
type deltas struct {
	data  []byte // what is not read yet
	width int    // of a decoded number, in bytes: 4 or 8

	perMiniblock int
	widths       []byte // of the miniblocks of the block that are not read yet
	miniblocks   int
	least        uint64
	last         uint64
}

// decodeDeltas decodes n numbers into out, which has room for them, little endian.
func decodeDeltas(out, data []byte, n, width int) error {
	if n == 0 {
		return nil
	}
	d := deltas{data: data, width: width}
	if err := d.begin(n); err != nil {
		return err
	}
	var first [8]byte
	binary.LittleEndian.PutUint64(first[:], d.last)
	copy(out, first[:width])
	for done := 1; done < n; {
		if len(d.widths) == 0 {
			if err := d.block(); err != nil {
				return err
			}
		}
		bits := int(d.widths[0])
		d.widths = d.widths[1:]
		now := min(d.perMiniblock, n-done)
		if err := d.miniblock(out[done*width:(done+now)*width], bits); err != nil {
			return err
		}
		done += now
	}
	return nil
}

// begin reads the header.
func (d *deltas) begin(n int) error {
	var header [3]uint64
	for i := range header {
		var err error
		if header[i], err = d.varint(); err != nil {
			return err
		}
	}
	block, miniblocks := header[0], header[1]
	if header[2] != uint64(n) || block == 0 || block > 1<<20 || miniblocks == 0 || block%miniblocks != 0 || block/miniblocks%32 != 0 {
		return errDamaged
	}
	d.miniblocks, d.perMiniblock = int(miniblocks), int(block/miniblocks)
	first, err := d.varint()
	d.last = zigzag(first)
	return err
}

// block reads the head of a block.
func (d *deltas) block() error {
	least, err := d.varint()
	if err != nil || len(d.data) < d.miniblocks {
		return errDamaged
	}
	d.least = zigzag(least)
	d.widths, d.data = d.data[:d.miniblocks], d.data[d.miniblocks:]
	return nil
}

// miniblock decodes numbers of so many bits, as many as out has room for.
func (d *deltas) miniblock(out []byte, bits int) error {
	if bits > 64 {
		return errDamaged
	}
	n := len(out) / d.width
	if (n*bits+7)/8 > len(d.data) {
		return errDamaged
	}
	packed := d.data
	d.data = d.data[min(d.perMiniblock*bits/8, len(d.data)):]
	if len(packed) < (n*bits+7)/8+9 { // so that every number may be read as nine bytes
		packed = append(make([]byte, 0, len(packed)+9), packed...)[:len(packed)+9]
	}
	last, mask := d.last, uint64(1)<<bits-1
	for i := range n {
		bit := i * bits
		from, shift := packed[bit>>3:], bit&7
		delta := binary.LittleEndian.Uint64(from) >> shift
		if bits > 56 {
			delta |= uint64(from[8]) << (64 - shift)
		}
		last += d.least + delta&mask
		if d.width == 8 {
			binary.LittleEndian.PutUint64(out[8*i:], last)
		} else {
			binary.LittleEndian.PutUint32(out[4*i:], uint32(last))
		}
	}
	d.last = last
	return nil
}

func (d *deltas) varint() (uint64, error) {
	v, size := binary.Uvarint(d.data)
	if size <= 0 {
		return 0, errDamaged
	}
	d.data = d.data[size:]
	return v, nil
}

func zigzag(v uint64) uint64 { return v>>1 ^ -(v & 1) }
