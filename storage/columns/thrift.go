package columns

import (
	"encoding/binary"
	"errors"
)

// errDamaged is the cause of every failure to read bytes that are not what Parquet
// says they should be.
var errDamaged = errors.New("parquet: damaged page or index")

// compact reads the little of Thrift's compact protocol that Parquet puts between its
// pages: structs of integers. What it is not asked for it skips. It never reads past its
// bytes; after an error everything it reads is zero.
type compact struct {
	data []byte
	at   int
	bad  bool
}

// The types of the compact protocol.
const (
	thriftStop   = 0
	thriftTrue   = 1
	thriftFalse  = 2
	thriftByte   = 3
	thriftI16    = 4
	thriftI32    = 5
	thriftI64    = 6
	thriftDouble = 7
	thriftBinary = 8
	thriftList   = 9
	thriftSet    = 10
	thriftMap    = 11
	thriftStruct = 12
)

// deepest is how deep a struct may nest. Parquet's own nest three deep.
const deepest = 8

func (c *compact) byte() byte {
	if c.at >= len(c.data) {
		c.bad = true
		return 0
	}
	b := c.data[c.at]
	c.at++
	return b
}

func (c *compact) uvarint() uint64 {
	if c.bad {
		return 0
	}
	v, n := binary.Uvarint(c.data[c.at:])
	if n <= 0 {
		c.bad = true
		return 0
	}
	c.at += n
	return v
}

func (c *compact) varint() int64 {
	u := c.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

func (c *compact) discard(n uint64) {
	if n > uint64(len(c.data)-c.at) {
		c.bad = true
		return
	}
	c.at += int(n)
}

// fields calls each for every field of the struct at hand. each reads the value, or
// returns false to have it skipped.
func (c *compact) fields(depth int, each func(id int16, typ byte) bool) {
	if depth > deepest {
		c.bad = true
	}
	for id := int16(0); !c.bad; {
		head := c.byte()
		typ := head & 15
		if typ == thriftStop {
			return
		}
		if delta := int16(head >> 4); delta != 0 {
			id += delta
		} else {
			id = int16(c.varint())
		}
		if !c.bad && !each(id, typ) {
			c.skip(typ, depth)
		}
	}
}

// list reads the head of a list.
func (c *compact) list() (n int, typ byte) {
	head := c.byte()
	size := uint64(head >> 4)
	if size == 15 {
		size = c.uvarint()
	}
	if size > uint64(len(c.data)) { // every element takes a byte at least
		c.bad = true
		return 0, 0
	}
	return int(size), head & 15
}

func (c *compact) skip(typ byte, depth int) {
	switch typ {
	case thriftTrue, thriftFalse:
	case thriftByte:
		c.byte()
	case thriftI16, thriftI32, thriftI64:
		c.uvarint()
	case thriftDouble:
		c.discard(8)
	case thriftBinary:
		c.discard(c.uvarint())
	case thriftList, thriftSet:
		n, of := c.list()
		if of == thriftTrue || of == thriftFalse {
			of = thriftByte // a truth value takes a byte in a list
		}
		for range n {
			if c.bad {
				return
			}
			c.skip(of, depth+1)
		}
	case thriftStruct:
		c.fields(depth+1, func(int16, byte) bool { return false })
	default: // maps do not occur in what we read
		c.bad = true
	}
}

// pageHeader is what stands before each page.
type pageHeader struct {
	size       int // of the header itself
	kind       int
	plainSize  int // of the page
	storedSize int // of the page in the file, compressed or not
	values     int // with nulls
	encoding   int

	// Of the second version of data pages, whose levels are never compressed.
	levelBytes int
	compressed bool
}

// The kinds of pages and the encodings, by their numbers in Parquet.
const (
	dataPage       = 0
	dictionaryPage = 2
	dataPageV2     = 3

	encodingPlain           = 0
	encodingPlainDictionary = 2 // the old name of encodingDictionary
	encodingDeltas          = 5
	encodingDictionary      = 8
)

// readPageHeader reads the header at the start of data, of a page that has so many bytes
// from there on, at most.
func readPageHeader(data []byte, most int) (pageHeader, error) {
	c := compact{data: data}
	h := pageHeader{kind: -1, encoding: -1, compressed: true}
	number := func(to *int) bool {
		v := c.varint()
		if v < 0 || v > 1<<31-1 {
			c.bad = true
		}
		*to = int(v)
		return true
	}
	c.fields(0, func(id int16, typ byte) bool {
		switch {
		case typ == thriftI32 && id == 1:
			return number(&h.kind)
		case typ == thriftI32 && id == 2:
			return number(&h.plainSize)
		case typ == thriftI32 && id == 3:
			return number(&h.storedSize)
		case typ == thriftStruct && (id == 5 || id == 7 || id == 8):
			c.fields(1, func(field int16, typ byte) bool {
				switch {
				case typ == thriftI32 && field == 1:
					return number(&h.values)
				case typ == thriftI32 && (field == 2 && id != 8 || field == 4 && id == 8):
					return number(&h.encoding)
				case typ == thriftI32 && id == 8 && (field == 5 || field == 6):
					var bytes int
					number(&bytes)
					h.levelBytes += bytes
					return true
				case id == 8 && field == 7 && (typ == thriftTrue || typ == thriftFalse):
					h.compressed = typ == thriftTrue
					return true
				}
				return false
			})
			return true
		}
		return false
	})
	h.size = c.at
	if c.bad || h.kind < 0 || h.storedSize > most-h.size || h.levelBytes > h.storedSize {
		return pageHeader{}, errDamaged
	}
	return h, nil
}

// pageLocation says where a data page begins, its header with it.
type pageLocation struct {
	offset int64 // in the file
	first  int32 // its first row in the row group

	// values is how many bytes after offset its values begin, if they can be read one by
	// one: 0 if nobody has looked yet, -1 if they cannot. Readers look at it atomically.
	values int32
}

// readOffsetIndex reads the locations of the data pages of one column chunk.
func readOffsetIndex(data []byte) ([]pageLocation, error) {
	c := compact{data: data}
	var pages []pageLocation
	c.fields(0, func(id int16, typ byte) bool {
		if id != 1 || typ != thriftList {
			return false
		}
		n, of := c.list()
		if of != thriftStruct {
			c.bad = true
			return true
		}
		pages = make([]pageLocation, 0, n)
		for range n {
			var offset, first int64
			c.fields(1, func(field int16, typ byte) bool {
				switch {
				case field == 1 && typ == thriftI64:
					offset = c.varint()
				case field == 3 && typ == thriftI64:
					first = c.varint()
				default:
					return false
				}
				return true
			})
			if c.bad || first < 0 || first > 1<<31-1 {
				c.bad = true
				return true
			}
			pages = append(pages, pageLocation{offset: offset, first: int32(first)})
		}
		return true
	})
	if c.bad {
		return nil, errDamaged
	}
	return pages, nil
}
