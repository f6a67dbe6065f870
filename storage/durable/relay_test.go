package durable_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"

	"github.com/driftline/driftline/storage/durable"
)

const relayed = 64

// Whatever pieces bytes come in, written or read, each stage sees all of them in their order.
func TestEveryStageOfARelaySeesAllBytes(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	content := make([]byte, 9*relayed+7)
	for i := range content {
		content[i] = byte(random.Uint32())
	}
	ways := map[string]func(*durable.Relay, []byte) error{
		"written": func(r *durable.Relay, content []byte) error {
			for rest := content; len(rest) > 0; {
				n := min(1+random.IntN(2*relayed), len(rest))
				piece := bytes.Clone(rest[:n])
				if _, err := r.Write(piece); err != nil {
					return err
				}
				clear(piece) // it is the caller's again
				rest = rest[n:]
			}
			return nil
		},
		"read": func(r *durable.Relay, content []byte) error {
			n, err := r.ReadFrom(iotest.HalfReader(bytes.NewReader(content)))
			if err == nil && n != int64(len(content)) {
				err = io.ErrShortBuffer
			}
			return err
		},
		"read, with its end": func(r *durable.Relay, content []byte) error {
			_, err := r.ReadFrom(iotest.DataErrReader(bytes.NewReader(content)))
			return err
		},
	}
	for name, give := range ways {
		for _, size := range []int{0, 1, relayed - 1, relayed, relayed + 1, len(content)} {
			for buffers := range 3 {
				var first, second bytes.Buffer
				keep := func(to *bytes.Buffer) func([]byte) error {
					return func(part []byte) error { _, err := to.Write(part); return err }
				}
				r := durable.NewRelay(buffers+1, relayed, keep(&first), keep(&second))
				if err := errors.Join(give(r, content[:size]), r.Close(), r.Close()); err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(first.Bytes(), content[:size]) || !bytes.Equal(second.Bytes(), content[:size]) {
					t.Errorf("%s, %d bytes through %d buffers: the stages saw %d and %d", name, size, buffers+1, first.Len(), second.Len())
				}
			}
		}
	}
}

// Buffers of huge pages are given back when a relay is closed, and no sooner: the last stage has seen all by then.
func TestLargeBuffersPassAllBytes(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789abcde"), (3*durable.HugeBytes+1000)/15)
	for range 3 {
		var got bytes.Buffer
		r := durable.NewRelay(2, durable.HugeBytes, func([]byte) error { return nil }, func(part []byte) error { _, err := got.Write(part); return err })
		_, err := r.ReadFrom(bytes.NewReader(content))
		if err := errors.Join(err, r.Close(), r.Close()); err != nil || !bytes.Equal(got.Bytes(), content) {
			t.Errorf("%d bytes of %d came through, or others, %v", got.Len(), len(content), err)
		}
	}
}

// endless gives bytes for ever.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestAStageThatFailsEndsARelay(t *testing.T) {
	full := errors.New("no space left")
	for takes := range 4 {
		seen, late := 0, 0
		r := durable.NewRelay(3, relayed, func([]byte) error {
			if seen++; seen > takes {
				return full
			}
			return nil
		}, func([]byte) error { late++; return nil })
		if _, err := r.ReadFrom(endless{}); err != nil { // that it returns is the test
			t.Errorf("reading failed: %v", err)
		}
		if _, err := r.Write(make([]byte, 10*relayed)); err != nil {
			t.Errorf("writing failed: %v", err)
		}
		if err := r.Close(); !errors.Is(err, full) {
			t.Errorf("the error is %v, want that of the stage", err)
		}
		if seen != takes+1 || late > takes {
			t.Errorf("after its error the stage was given %d more, and the next %d of %d", seen-takes-1, late, takes)
		}
	}
}

func TestAReaderThatFailsIsNoEnd(t *testing.T) {
	boom := errors.New("boom")
	var got bytes.Buffer
	r := durable.NewRelay(2, relayed, func(part []byte) error { _, err := got.Write(part); return err })
	if _, err := r.ReadFrom(io.MultiReader(bytes.NewReader(make([]byte, 3*relayed+1)), iotest.ErrReader(boom))); !errors.Is(err, boom) {
		t.Errorf("the error is %v, want the reader's", err)
	}
	if err := r.Close(); err != nil || got.Len() != 3*relayed+1 {
		t.Errorf("%d bytes came through, %v", got.Len(), err)
	}
}
