package flight

import (
	"cmp"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"google.golang.org/grpc/mem"
)

// lender lends the buffers of batches to the transport, and knows which are not yet
// given back, and where in memory they are.
//
// gRPC gives most back when it has written them. Those of a stream that was
// cancelled or of a connection that broke it may forget, and no call tells whether
// it still reads them; so what it forgets goes back once the garbage collector finds
// that nobody can read it, or when the server has stopped. A [wire] on its part holds
// a batch from the moment gRPC has written it until the kernel has it.
type lender struct {
	mu  sync.Mutex
	out map[*loan]struct{}

	// lent is where the memory of all loans is, by its begin. Where stretches overlap,
	// because two streams send the same array, a search may miss one.
	lent []stretch
}

// stretch is memory of a loan.
type stretch struct {
	begin, end uintptr
	loan       *loan
}

func newLender() *lender { return &lender{out: make(map[*loan]struct{})} }

// reclaim takes everything back from gRPC. It is for when no transport lives any more.
func (l *lender) reclaim() {
	l.mu.Lock()
	var left []*loan
	for loan := range l.out {
		left = append(left, loan)
	}
	l.mu.Unlock()
	for _, loan := range left {
		loan.returned()
	}
}

// hold keeps the loan that the bytes are part of from ending, until they are dropped.
// It returns nil if they are of none.
func (l *lender) hold(bytes []byte) *loan {
	begin := uintptr(unsafe.Pointer(unsafe.SliceData(bytes)))
	l.mu.Lock()
	defer l.mu.Unlock()
	at, _ := slices.BinarySearchFunc(l.lent, begin+1, compareBegin)
	if at == 0 {
		return nil
	}
	s := l.lent[at-1]
	if begin+uintptr(len(bytes)) > s.end || s.loan.users == 0 {
		return nil
	}
	s.loan.users++
	return s.loan
}

func compareBegin(s stretch, begin uintptr) int { return cmp.Compare(s.begin, begin) }

// add notes where the memory of a loan is.
func (l *lender) add(s stretch) {
	at, _ := slices.BinarySearchFunc(l.lent, s.begin, compareBegin)
	l.lent = slices.Insert(l.lent, at, s)
}

// loan is one batch whose buffers are out.
type loan struct {
	lender  *lender
	batch   arrow.RecordBatch
	payload ipc.Payload

	users    int // gRPC is one, and each hold of a wire; guarded by the lender
	returned func()
}

// lend makes a loan that gRPC is the user of, until it is returned.
func (l *lender) lend(batch arrow.RecordBatch, payload ipc.Payload) *loan {
	batch.Retain()
	out := &loan{lender: l, batch: batch, payload: payload, users: 1}
	out.returned = sync.OnceFunc(out.drop)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.out[out] = struct{}{}
	return out
}

// drop is the end of one use. The last gives the batch back.
func (l *loan) drop() {
	if l.leave() {
		l.payload.Release()
		l.batch.Release()
	}
}

// leave reports whether it was the last user who left.
func (l *loan) leave() bool {
	l.lender.mu.Lock()
	defer l.lender.mu.Unlock()
	if l.users--; l.users > 0 {
		return false
	}
	delete(l.lender.out, l)
	l.lender.lent = slices.DeleteFunc(l.lender.lent, func(s stretch) bool { return s.loan == l })
	return true
}

// pieces collects what is written to it and copies none of it. What ipc writes are the
// buffers of its payload, which live as long as that.
type pieces struct {
	parts [][]byte
	bytes int
}

func (p *pieces) Write(part []byte) (int, error) {
	p.parts = append(p.parts, part)
	p.bytes += len(part)
	return len(part), nil
}

// buffers are head and, after it, the body in its parts. Large parts are lent; small
// ones, and the padding between, are copied, because gRPC does not count who uses
// buffers of up to a kilobyte.
func (l *loan) buffers(head []byte, body pieces) mem.BufferSlice {
	var all mem.BufferSlice
	back := &returns{loan: l}
	for _, part := range body.parts {
		if mem.IsBelowBufferPoolingThreshold(len(part)) {
			head = append(head, part...)
			continue
		}
		if len(head) > 0 {
			all, head = append(all, mem.SliceBuffer(head)), nil
		}
		part = part[:len(part):len(part)]
		all = append(all, mem.NewBuffer(&part, back))
		back.missing.Add(1)
	}
	if len(head) > 0 {
		all = append(all, mem.SliceBuffer(head))
	}
	if back.missing.Load() == 0 {
		l.returned()
		return all
	}
	l.note(body)
	back.forgotten = runtime.AddCleanup(back, func(l *loan) { l.returned() }, l)
	return all
}

// note tells the lender where the parts are that are worth to be held.
func (l *loan) note(body pieces) {
	l.lender.mu.Lock()
	defer l.lender.mu.Unlock()
	for _, part := range body.parts {
		if len(part) >= leastHeld {
			begin := uintptr(unsafe.Pointer(unsafe.SliceData(part)))
			l.lender.add(stretch{begin, begin + uintptr(len(part)), l})
		}
	}
}

// returns is the pool that the lent buffers of one loan are put back to. gRPC holds
// it as long as it holds one of them.
type returns struct {
	loan      *loan
	missing   atomic.Int32
	forgotten runtime.Cleanup
}

// Put takes one buffer back, and with the last gRPC's use of the loan ends.
func (r *returns) Put(*[]byte) {
	if r.missing.Add(-1) == 0 {
		r.forgotten.Stop()
		r.loan.returned()
	}
}

// Get is for pools that make buffers, which this one does not.
func (r *returns) Get(length int) *[]byte {
	made := make([]byte, length)
	return &made
}
