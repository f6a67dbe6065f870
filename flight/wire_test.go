package flight

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"google.golang.org/grpc/mem"
)

// wired is a wire and the other side of its connection.
func wired(t *testing.T, lender *lender) (w *wire, other *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialled, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	var senders sync.WaitGroup
	conn, err := gatheringListener{l, lender, &senders}.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		_ = dialled.Close()
		senders.Wait()
	})
	return conn.(*wire), dialled.(*net.TCPConn)
}

func write(t *testing.T, w io.Writer, p []byte) {
	t.Helper()
	if n, err := w.Write(p); n != len(p) || err != nil {
		t.Fatalf("%d of %d bytes written, %v", n, len(p), err)
	}
}

// lentNumbers lends a batch of two columns, and returns the memory of its first one and
// what gRPC would free.
func lentNumbers(t *testing.T, lender *lender, allocator memory.Allocator, rows int) ([]byte, mem.BufferSlice) {
	t.Helper()
	batch := numbers(allocator, rows)
	defer batch.Release()
	frame, err := lender.batchFrame(batch, nil, allocator)
	if err != nil {
		t.Fatal(err)
	}
	return batch.Column(0).(*array.Int64).Data().Buffers()[1].Bytes()[:8*rows], frame.buffers
}

// What is written arrives in order, however it is cut, and whoever uses its memory next.
func TestAWireSendsWhatWasWritten(t *testing.T) {
	allocator := memory.NewCheckedAllocator(memory.NewGoAllocator())
	lender := newLender()
	lent, buffers := lentNumbers(t, lender, allocator, 100_000)
	w, other := wired(t, lender)
	got := make(chan []byte)
	go func() {
		all, _ := io.ReadAll(other)
		got <- all
	}()
	random := rand.New(rand.NewPCG(1, 2))
	var want, scratch []byte
	for len(want) < 16<<20 {
		from := random.IntN(len(lent))
		piece := lent[from:min(from+random.IntN(2*leastHeld), len(lent))]
		want = append(want, piece...)
		if random.IntN(2) == 0 {
			scratch = append(scratch[:0], piece...)
			piece = scratch
		}
		write(t, w, piece)
		clear(scratch)
	}
	buffers.Free()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(<-got, want) {
		t.Error("other bytes arrived than were written")
	}
	allocator.AssertSize(t, 0)
}

// A batch that gRPC has written, or forgotten, is held until the kernel has it.
func TestAWireHoldsWhatItHasNotSent(t *testing.T) {
	for _, gone := range []struct {
		what  string
		leave func(mem.BufferSlice)
	}{
		{"written", mem.BufferSlice.Free},
		{"forgotten", func(mem.BufferSlice) {}},
	} {
		t.Run(gone.what, func(t *testing.T) {
			allocator := memory.NewCheckedAllocator(memory.NewGoAllocator())
			lender := newLender()
			w, other := wired(t, lender)
			var want []byte
			func() {
				lent, buffers := lentNumbers(t, lender, allocator, 1_000_000)
				want = bytes.Clone(lent)
				write(t, w, lent)
				gone.leave(buffers)
			}()
			for range 5 {
				runtime.GC()
			}
			if allocator.CurrentAlloc() == 0 {
				t.Fatal("the batch was released before it was sent")
			}
			got := make([]byte, len(want))
			if _, err := io.ReadFull(other, got); err != nil || !bytes.Equal(got, want) {
				t.Errorf("other bytes arrived than were written, %v", err)
			}
			released(t, allocator)
		})
	}
}

func released(t *testing.T, allocator *memory.CheckedAllocator) {
	t.Helper()
	for range 1000 {
		if runtime.GC(); allocator.CurrentAlloc() == 0 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	allocator.AssertSize(t, 0)
}

// Somebody who does not read stops whoever writes, until the connection is closed.
func TestAWireWaitsForASlowReader(t *testing.T) {
	allocator := memory.NewCheckedAllocator(memory.NewGoAllocator())
	lender := newLender()
	lent, buffers := lentNumbers(t, lender, allocator, 100_000)
	w, _ := wired(t, lender)
	failed := make(chan error)
	written := 0
	go func() {
		for {
			n, err := w.Write(lent)
			if written += n; err != nil {
				failed <- err
				return
			}
		}
	}()
	select {
	case err := <-failed:
		t.Fatalf("a write failed before the connection was closed: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; !errors.Is(err, net.ErrClosed) && !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the write failed with %v", err)
	}
	buffers.Free()
	released(t, allocator)
}

// Who reads no more makes writing fail.
func TestAWireThatIsCutFails(t *testing.T) {
	w, other := wired(t, newLender())
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	message := make([]byte, 1<<20)
	for {
		if _, err := w.Write(message); err != nil {
			break
		}
	}
	if len(w.gathered.held) > 0 || w.gathered.bytes > 0 {
		t.Error("something still waits")
	}
}

// Only memory that was lent is sent from where it lies, and only for as long.
func TestHold(t *testing.T) {
	allocator := memory.NewCheckedAllocator(memory.NewGoAllocator())
	lender := newLender()
	lent, buffers := lentNumbers(t, lender, allocator, 10_000)
	whole := lent[:cap(lent)]
	for _, c := range []struct {
		what  string
		bytes []byte
		held  bool
	}{
		{"all", lent, true},
		{"the first part", lent[:5000], true},
		{"the last part", lent[len(lent)-5000:], true},
		{"beyond the end", whole[len(lent)-5000 : len(lent)+1], false},
		{"elsewhere", make([]byte, 5000), false},
		{"nothing", nil, false},
	} {
		held := lender.hold(c.bytes)
		if (held != nil) != c.held {
			t.Errorf("%s: held %t", c.what, held != nil)
		}
		if held != nil {
			held.drop()
		}
	}
	held := lender.hold(lent)
	buffers.Free()
	if again := lender.hold(lent); again == nil {
		t.Error("a loan that is held cannot be held again")
	} else {
		again.drop()
	}
	held.drop()
	allocator.AssertSize(t, 0)
	if lender.hold(lent) != nil || len(lender.lent) > 0 || len(lender.out) > 0 {
		t.Error("the lender knows of a loan that has ended")
	}
}
