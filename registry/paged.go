package registry

import (
	"iter"
	"sync/atomic"
)

// pageLength is how many values are copied when one of them is changed after a snapshot.
const pageLength = 512

// paged is a long list that grows at its end, and of which a snapshot costs next to nothing:
// it shares the pages, and a page is copied when it is next written to. So searches see all
// runs as of one time, and neither keep writers waiting nor make lists of their own.
//
// Snapshots may be taken concurrently, and read at any time; writes exclude both writes and
// the taking of snapshots.
type paged[T any] struct {
	pages  []*page[T]
	length int
	writer atomic.Pointer[pageWriter] // another one after each snapshot
}

// page belongs to the list whose writer it names, and to nobody else.
type page[T any] struct {
	writer *pageWriter
	values [pageLength]T
}

// pageWriter is an identity, and so must not be empty: empty things may have one address.
type pageWriter struct{ _ byte }

func newPaged[T any]() *paged[T] {
	p := &paged[T]{}
	p.writer.Store(new(pageWriter))
	return p
}

// snapshot returns the list as it is now. Neither sees what is written to the other.
func (p *paged[T]) snapshot() *paged[T] {
	p.writer.Store(new(pageWriter))
	s := newPaged[T]()
	s.pages, s.length = append([]*page[T](nil), p.pages...), p.length
	return s
}

func (p *paged[T]) len() int { return p.length }

// at returns value number n, which must be one of the list.
func (p *paged[T]) at(n uint32) T { return p.pages[n/pageLength].values[n%pageLength] }

// set replaces a value. The list grows up to it, by zero values, if it is shorter.
func (p *paged[T]) set(n uint32, value T) {
	for int(n) >= len(p.pages)*pageLength {
		p.pages = append(p.pages, &page[T]{writer: p.writer.Load()})
	}
	p.length = max(p.length, int(n)+1)
	p.own(n / pageLength).values[n%pageLength] = value
}

// cut shortens the list to n values.
func (p *paged[T]) cut(n int) {
	var none T
	for p.length > n {
		p.set(uint32(p.length-1), none)
		p.length--
	}
}

// own returns a page that no snapshot shares.
func (p *paged[T]) own(number uint32) *page[T] {
	writer, shared := p.writer.Load(), p.pages[number]
	if shared.writer == writer {
		return shared
	}
	own := &page[T]{writer: writer, values: shared.values}
	p.pages[number] = own
	return own
}

// all yields the values in order.
func (p *paged[T]) all() iter.Seq2[uint32, T] {
	return func(yield func(uint32, T) bool) {
		for n := range uint32(p.length) {
			if !yield(n, p.at(n)) {
				return
			}
		}
	}
}
