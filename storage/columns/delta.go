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

	packed []byte // the miniblock at hand, and nine bytes more, so that each number may be read as nine
	have   int    // how many bytes of packed were stored
	bits   int    // of a number in it
	bit    int    // where in it the next number begins
	left   int    // numbers in it that are not read yet
	last   uint64
}

// decodeDeltas decodes n numbers into out, which has room for them, little endian.
func decodeDeltas(out, data []byte, n, width int) error {
	d, err := newDeltas(data, n, width)
	if err != nil {
		return err
	}
	return d.read(out[:n*width])
}

// newDeltas begins to decode n numbers.
func newDeltas(data []byte, n, width int) (deltas, error) {
	d := deltas{data: data, width: width}
	if n == 0 {
		return d, nil
	}
	return d, d.begin(n)
}

// read decodes the next numbers, as many as out has room for.
func (d *deltas) read(out []byte) error {
	for len(out) > 0 {
		if d.left == 0 {
			if err := d.nextMiniblock(); err != nil {
				return err
			}
		}
		n := min(d.left, len(out)/d.width)
		if err := d.numbers(out[:n*d.width]); err != nil {
			return err
		}
		out = out[n*d.width:]
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
	// The first number is read as a miniblock of its own, of one number and no bits.
	first, err := d.varint()
	d.least, d.left, d.packed = zigzag(first), 1, make([]byte, 9)
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

// nextMiniblock begins the next miniblock. The last one may have fewer bytes than all of
// its numbers take.
func (d *deltas) nextMiniblock() error {
	if len(d.widths) == 0 {
		if err := d.block(); err != nil {
			return err
		}
	}
	d.bits, d.bit, d.left = int(d.widths[0]), 0, d.perMiniblock
	d.widths = d.widths[1:]
	if d.bits > 64 {
		return errDamaged
	}
	d.packed, d.have = d.data, len(d.data)
	bytes := d.perMiniblock * d.bits / 8
	if d.have < bytes+9 {
		d.packed = append(make([]byte, 0, d.have+9), d.data...)[:d.have+9]
	}
	d.data = d.data[min(bytes, d.have):]
	return nil
}

// numbers decodes numbers of the miniblock at hand.
func (d *deltas) numbers(out []byte) error {
	n, bits, bit := len(out)/d.width, d.bits, d.bit
	end := bit + n*bits
	if (end+7)/8 > d.have {
		return errDamaged
	}
	d.left, d.bit = d.left-n, end
	last, least, packed, mask := d.last, d.least, d.packed, uint64(1)<<bits-1
	if d.width == 8 && bits <= 56 {
		to := values64(out)
		for i := range to {
			last += least + binary.LittleEndian.Uint64(packed[bit>>3:])>>(bit&7)&mask
			to[i] = last
			bit += bits
		}
		d.last = last
		return nil
	}
	for i := range n {
		from, shift := packed[bit>>3:], bit&7
		delta := binary.LittleEndian.Uint64(from) >> shift
		if bits > 56 {
			delta |= uint64(from[8]) << (64 - shift)
		}
		last += least + delta&mask
		if d.width == 8 {
			binary.LittleEndian.PutUint64(out[8*i:], last)
		} else {
			binary.LittleEndian.PutUint32(out[4*i:], uint32(last))
		}
		bit += bits
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
