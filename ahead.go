package driftline

import (
	"github.com/apache/arrow-go/v18/arrow"
)

// Ahead yields the batches of b, of which up to n are made in a goroutine of their own
// while the caller works on another. The goroutine ends before the range does, however
// it ends, and a panic in it becomes one of the range.
func (b Batches) Ahead(n int) Batches {
	return Batches{Schema: b.Schema, All: func(yield func(arrow.RecordBatch, error) bool) {
		made, stop := make(chan madeBatch, n), make(chan struct{})
		go b.makeAhead(made, stop)
		defer func() {
			close(stop)
			for left := range made {
				left.release()
			}
		}()
		for next := range made {
			if next.panicked != nil {
				panic(next.panicked)
			}
			more := yield(next.batch, next.err)
			next.release()
			if !more {
				return
			}
		}
	}}
}

// madeBatch is what a range yields, or the value of a panic that ended it.
type madeBatch struct {
	batch    arrow.RecordBatch // retained; nil with an error
	err      error
	panicked any
}

func (m madeBatch) release() {
	if m.batch != nil {
		m.batch.Release()
	}
}

// makeAhead ranges over b until it ends or stop is closed, and closes made.
func (b Batches) makeAhead(made chan<- madeBatch, stop <-chan struct{}) {
	defer close(made)
	defer func() {
		if p := recover(); p != nil {
			select {
			case made <- madeBatch{panicked: p}:
			case <-stop:
			}
		}
	}()
	for batch, err := range b.All {
		next := madeBatch{batch: batch, err: err}
		if batch != nil {
			batch.Retain()
		}
		select {
		case made <- next:
		case <-stop:
			next.release()
			return
		}
	}
}
