package engine

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"

	"github.com/driftline/driftline"
)

// spool keeps a stream of any length in files without names, so that it can be read
// again once something is known of the whole of it: here, its times.
type spool struct {
	engine *Engine
	schema *arrow.Schema
	rows   *os.File // an Arrow stream
	times  *os.File // the times that are not null, 8 bytes each
	count  int64    // of times
}

// newSpool reads rows to their end. The caller closes the spool.
func (e *Engine) newSpool(rows driftline.Batches, time int) (s *spool, err error) {
	s = &spool{engine: e, schema: rows.Schema}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if s.rows, err = e.tempFile(); err != nil {
		return s, err
	}
	if s.times, err = e.tempFile(); err != nil {
		return s, err
	}
	return s, s.write(rows, time)
}

// tempFile opens a file that is gone when it is closed, or when the process dies.
func (e *Engine) tempFile() (*os.File, error) {
	f, err := os.CreateTemp(filepath.Join(e.dir, "tmp"), "spool-*")
	if err != nil {
		return nil, spoolError(err)
	}
	return f, spoolError(os.Remove(f.Name()))
}

func spoolError(err error) error {
	if err == nil {
		return nil
	}
	return driftline.Errorf(driftline.Unavailable, "rows cannot be kept while they are divided: %w", err).
		WithHint("see that the data folder's disk has room")
}

func (s *spool) close() error {
	var errs []error
	for _, f := range []*os.File{s.rows, s.times} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

func (s *spool) write(rows driftline.Batches, time int) error {
	out, times := bufio.NewWriterSize(s.rows, 1<<20), bufio.NewWriterSize(s.times, 1<<16)
	writer := ipc.NewWriter(out, ipc.WithSchema(s.schema), ipc.WithAllocator(s.engine.mem))
	for batch, err := range rows.All {
		if err != nil {
			return errors.Join(err, writer.Close())
		}
		if err := writer.Write(batch); err != nil {
			return errors.Join(spoolError(err), writer.Close())
		}
		column := batch.Column(time).(*array.Timestamp)
		for i, t := range column.TimestampValues() {
			if column.IsNull(i) {
				continue
			}
			s.count++
			var raw [8]byte
			binary.LittleEndian.PutUint64(raw[:], uint64(t))
			if _, err := times.Write(raw[:]); err != nil {
				return errors.Join(spoolError(err), writer.Close())
			}
		}
	}
	return spoolError(errors.Join(writer.Close(), out.Flush(), times.Flush()))
}

// batches yields the rows again.
func (s *spool) batches() driftline.Batches {
	return driftline.Batches{Schema: s.schema, All: func(yield func(arrow.RecordBatch, error) bool) {
		if _, err := s.rows.Seek(0, io.SeekStart); err != nil {
			yield(nil, spoolError(err))
			return
		}
		reader, err := ipc.NewReader(bufio.NewReaderSize(s.rows, 1<<20), ipc.WithAllocator(s.engine.mem))
		if err != nil {
			yield(nil, spoolError(err))
			return
		}
		for batch, err := range driftline.BatchesFrom(reader).All {
			if !yield(batch, err) {
				return
			}
		}
	}}
}

// cuts returns the times at which the parts of a split by time end, so that each part
// has as nearly its fraction of the rows as can be without tearing equal times apart.
func (s *spool) cuts(split *driftline.SplitSpec) ([]int64, error) {
	ranks, sum := make([]int64, len(split.Parts)-1), 0.0
	for i := range ranks {
		sum += split.Parts[i].Fraction
		ranks[i] = int64(math.Round(sum * float64(s.count)))
	}
	return s.atRanks(ranks)
}

// digit is how many bits of a time one pass over the times settles.
const digit = 16

// candidate is a cut that is being found: its leading digits, and how many times are
// less than everything that begins with them.
type candidate struct {
	rank   int64 // of the time looked for
	prefix uint64
	less   int64
}

// atRanks returns, for each rank, the time at which to cut: the one of that rank among
// all times in order, or the one after it if that leaves the part nearer to rank rows.
//
// It is a radix selection: each pass counts the next digit of the times that begin as
// the candidate does, so that memory is bounded whatever the number of times.
func (s *spool) atRanks(ranks []int64) ([]int64, error) {
	found := make([]candidate, len(ranks))
	equal := make([]int64, len(ranks))
	for i, rank := range ranks {
		found[i].rank = min(rank, s.count-1)
	}
	for shift := 64 - digit; shift >= 0 && s.count > 0; shift -= digit {
		counts, err := s.countDigits(found, shift)
		if err != nil {
			return nil, err
		}
		for i := range found {
			equal[i] = found[i].descend(counts[found[i].prefix])
		}
	}
	cuts := make([]int64, len(ranks))
	for i, c := range found {
		cuts[i] = int64(c.prefix ^ 1<<63)
		if beyond := c.less + equal[i] - ranks[i]; beyond >= 0 && beyond < ranks[i]-c.less {
			cuts[i]++
		}
		if i > 0 {
			cuts[i] = max(cuts[i], cuts[i-1])
		}
	}
	return cuts, nil
}

// descend appends the digit that the time of the candidate's rank has, and returns how
// many times have it.
func (c *candidate) descend(counts []int64) int64 {
	for d, n := range counts {
		if c.less+n > c.rank {
			c.prefix = c.prefix<<digit | uint64(d)
			return n
		}
		c.less += n
	}
	panic(fmt.Sprintf("engine: rank %d is beyond the times", c.rank))
}

// countDigits counts the digit at shift of the times that begin with each prefix.
func (s *spool) countDigits(of []candidate, shift int) (map[uint64][]int64, error) {
	counts := map[uint64][]int64{}
	for _, c := range of {
		if counts[c.prefix] == nil {
			counts[c.prefix] = make([]int64, 1<<digit)
		}
	}
	if _, err := s.times.Seek(0, io.SeekStart); err != nil {
		return nil, spoolError(err)
	}
	in := bufio.NewReaderSize(s.times, 1<<16)
	var raw [8]byte
	for range s.count {
		if _, err := io.ReadFull(in, raw[:]); err != nil {
			return nil, spoolError(err)
		}
		ordered := binary.LittleEndian.Uint64(raw[:]) ^ 1<<63 // as unsigned, in the order of time
		if digits, ok := counts[ordered>>shift>>digit]; ok {
			digits[ordered>>shift&(1<<digit-1)]++
		}
	}
	return counts, nil
}
