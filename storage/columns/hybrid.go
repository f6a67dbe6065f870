package columns

import "encoding/binary"

// hybrid walks over numbers in Parquet's RLE and bit-packed hybrid encoding.
type hybrid struct {
	data  []byte
	width int // bits of a number, at most 32

	packed []byte // of the piece at hand, if it is bit-packed
}

// next returns the next piece: n times value, or n numbers that [hybrid.at] reads if
// packed. The last bit-packed piece may be longer than the numbers that there are. n is
// 0 at the end.
func (h *hybrid) next() (n int, value uint32, packed bool, err error) {
	if len(h.data) == 0 {
		return 0, 0, false, nil
	}
	head, size := binary.Uvarint(h.data)
	if size <= 0 || head>>1 == 0 || head>>1 > 1<<31-1 {
		return 0, 0, false, errDamaged
	}
	h.data = h.data[size:]
	if head&1 == 1 {
		bytes := int(head>>1) * h.width // eight numbers take width bytes
		if bytes > len(h.data) {
			// Writers may leave the padding of the last piece away.
			bytes = len(h.data)
		}
		h.packed, h.data = h.data[:bytes], h.data[bytes:]
		n := int(head>>1) * 8
		if h.width > 0 {
			n = bytes * 8 / h.width
		}
		return n, 0, true, nil
	}
	bytes := (h.width + 7) / 8
	if bytes > len(h.data) {
		return 0, 0, false, errDamaged
	}
	for i := range bytes {
		value |= uint32(h.data[i]) << (8 * i)
	}
	h.data = h.data[bytes:]
	return int(head >> 1), value, false, nil
}

// at returns the i-th number of the packed piece at hand.
func (h *hybrid) at(i int) uint32 {
	bit := i * h.width
	from := h.packed[bit>>3:]
	var word uint64
	if len(from) >= 8 {
		word = binary.LittleEndian.Uint64(from)
	} else {
		for j, b := range from {
			word |= uint64(b) << (8 * j)
		}
	}
	return uint32(word>>(bit&7)) & uint32(1<<h.width-1)
}

// each calls piece for every run of equal numbers among the next n, in order; a
// bit-packed number is a run of one. It fails if there are fewer than n.
func (h *hybrid) each(n int, piece func(count int, value uint32)) error {
	for n > 0 {
		count, value, packed, err := h.next()
		if err != nil {
			return err
		}
		if count == 0 {
			return errDamaged
		}
		count = min(count, n)
		n -= count
		if !packed {
			piece(count, value)
			continue
		}
		for i := range count {
			piece(1, h.at(i))
		}
	}
	return nil
}

// unpack reads the first numbers of the packed piece at hand.
func (h *hybrid) unpack(to []int32) {
	mask, i, bit := uint64(1)<<h.width-1, 0, 0
	for ; i < len(to) && bit>>3+8 <= len(h.packed); i, bit = i+1, bit+h.width {
		to[i] = int32(binary.LittleEndian.Uint64(h.packed[bit>>3:]) >> (bit & 7) & mask)
	}
	for ; i < len(to); i++ {
		to[i] = int32(h.at(i))
	}
}
