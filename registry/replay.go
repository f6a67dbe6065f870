package registry

import (
	"runtime"
	"slices"
	"sync"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/kv"
)

// Opening reads every line that was ever written. What a line says for itself, its hash and
// its JSON, is read by several goroutines in chunks; what it means after the lines before
// it is folded by one.

// replayedAtOnce is how many lines a chunk has.
const replayedAtOnce = 256

// replayChunk is a part of the ledger on its way to the fold.
type replayChunk struct {
	first  uint64 // the sequence that its first line must have
	stored []byte // the keys and values of its lines, one after the other
	ends   []int  // in stored, of each key and each value
	lines  []Line // those before err, whose bodies lie in stored
	err    error
	done   chan struct{} // closed once lines and err are set
}

// replayChunks are chunks that were folded and are filled again, so that opening a long ledger
// makes no more garbage than opening a short one.
type replayChunks chan *replayChunk

// next returns an empty chunk.
func (folded replayChunks) next(first uint64) *replayChunk {
	select {
	case c := <-folded:
		*c = replayChunk{first: first, stored: c.stored[:0], ends: c.ends[:0], lines: c.lines[:0], done: make(chan struct{})}
		return c
	default:
		return &replayChunk{first: first, done: make(chan struct{})}
	}
}

func (c *replayChunk) add(key, value []byte) {
	for _, part := range [][]byte{key, value} {
		c.stored = append(c.stored, part...)
		c.ends = append(c.ends, len(c.stored))
	}
}

func (c *replayChunk) size() int { return len(c.ends) / 2 }

// part returns key or value number i.
func (c *replayChunk) part(i int) []byte {
	begin := 0
	if i > 0 {
		begin = c.ends[i-1]
	}
	return c.stored[begin:c.ends[i]:c.ends[i]]
}

// decode reads the lines of a chunk, up to the first that is damaged.
func (c *replayChunk) decode(keys *keyTable) {
	defer close(c.done)
	c.lines = slices.Grow(c.lines, c.size())
	for i := range c.size() {
		line, err := decodeAlone(c.part(2*i), c.part(2*i+1), c.first+uint64(i))
		if err == nil {
			err = decodeBody(&line, keys)
		}
		if err != nil {
			c.err = err
			return
		}
		c.lines = append(c.lines, line)
	}
}

// decodeAlone reads a stored line that must be number sequence, and believes what it says
// of the line before.
func decodeAlone(key, value []byte, sequence uint64) (Line, error) {
	if string(key) != string(lineKey(sequence)) {
		return Line{}, damagedLine(sequence, "it is missing")
	}
	prev, err := storedPrev(value, sequence)
	if err != nil {
		return Line{}, err
	}
	return decodeLine(value, sequence, prev)
}

// replayChunks yields the chunks of the ledger in order, decoded. A chunk, and the bodies of
// its lines, are the caller's until it asks for the next.
func (r *Registry) replayChunks(yield func(*replayChunk) bool) {
	workers := runtime.GOMAXPROCS(0)
	ordered, jobs, stop := make(chan *replayChunk, workers), make(chan *replayChunk, workers), make(chan struct{})
	folded := make(replayChunks, 3*workers) // as many as there are at once, and one
	var running sync.WaitGroup
	for range workers {
		running.Go(func() {
			for c := range jobs {
				c.decode(r.keys)
			}
		})
	}
	running.Go(func() {
		defer close(jobs)
		defer close(ordered)
		r.readChunks(folded, func(c *replayChunk) bool {
			select {
			case ordered <- c:
				jobs <- c // a worker takes it: they end only after this
				return true
			case <-stop:
				return false
			}
		})
	})
	defer running.Wait()
	defer close(stop)
	for c := range ordered {
		<-c.done
		if !yield(c) {
			return
		}
		select {
		case folded <- c:
		default:
		}
	}
}

// readChunks reads the ledger. An error is a chunk of its own, and the last.
func (r *Registry) readChunks(folded replayChunks, hand func(*replayChunk) bool) {
	next := uint64(1)
	c := folded.next(next)
	for pair, err := range r.db.ScanPrefix([]byte{kv.Ledger}) {
		if err != nil {
			if c.size() > 0 && !hand(c) {
				return
			}
			hand(&replayChunk{err: err, done: make(chan struct{})})
			return
		}
		c.add(pair.Key, pair.Value)
		if next++; c.size() == replayedAtOnce {
			if !hand(c) {
				return
			}
			c = folded.next(next)
		}
	}
	if c.size() > 0 {
		hand(c)
	}
}

// replay reads the ledger, and returns the number of the last line that the index of artifacts rests on.
func (r *Registry) replay() (artifacts uint64, err error) {
	for c := range r.replayChunks {
		for i := range c.lines {
			line := &c.lines[i]
			if line.Prev != r.tail.Hash {
				return 0, unchained(line.Sequence)
			}
			if err := r.replayLine(line); err != nil {
				return 0, err
			}
			if aboutArtifacts(line.Kind) {
				artifacts = line.Sequence
			}
		}
		if c.err != nil {
			return 0, c.err
		}
	}
	return artifacts, nil
}

func (r *Registry) replayLine(line *Line) error {
	effects, err := fold(r.head, line)
	if err != nil {
		return driftline.Errorf(driftline.DataLoss, "ledger line %d cannot be replayed: %w", line.Sequence, err)
	}
	for _, e := range effects {
		e(r.head)
	}
	r.graph.add(line)
	r.tail, r.tailTime = Mark{line.Sequence, line.Hash}, line.Time
	return nil
}

// frequentBodies are the kinds of which ledgers have many lines, with what decodes their
// bodies. The others are decoded when they are folded.
var frequentBodies = map[Kind]func(*Line) (any, error){
	RunCreated:   decodedBody[runCreated],
	RunLogged:    decodedBody[driftline.RunLog], // those that are no [packedLog]
	RunFinished:  decodedBody[runFinished],
	RunChanged:   decodedBody[runChanged],
	RowsIngested: decodedBody[ingested],
}

func decodedBody[T any](line *Line) (any, error) { return body[T](line) }

// decodeBody decodes the body of a line of a frequent kind beforehand, for [body] and the fold of runs.
func decodeBody(line *Line, keys *keyTable) error {
	if line.Kind == RunLogged {
		if log, ok := readPlainLog(line.Body, keys); ok {
			line.decoded = log
			return nil
		}
	}
	decode, ok := frequentBodies[line.Kind]
	if !ok {
		return nil
	}
	decoded, err := decode(line)
	if err != nil {
		return driftline.Errorf(driftline.DataLoss, "ledger line %d cannot be replayed: %w", line.Sequence, err)
	}
	line.decoded = decoded
	return nil
}
