package kv_test

import (
	"fmt"
	"testing"

	"github.com/driftline/driftline/storage/kv"
)

// BenchmarkGetHotKey reads a key that was written very often since the last
// flush, which is what an entity that changes all the time looks like.
func BenchmarkGetHotKey(b *testing.B) {
	for _, writes := range []int{1, 1_000, 50_000} {
		b.Run(fmt.Sprint("writes=", writes), func(b *testing.B) {
			db := open(b, b.TempDir())
			value := make([]byte, 150)
			for done := 0; done < writes; {
				commit(b, db, func(batch *kv.Batch) {
					for range min(100, writes-done) {
						batch.Max([]byte("hot"), value)
						done++
					}
				})
			}
			for b.Loop() {
				if _, err := db.Get([]byte("hot")); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkCommit is the cost of an acknowledged write, alone and shared.
func BenchmarkCommit(b *testing.B) {
	for _, writers := range []int{1, 16} {
		b.Run(fmt.Sprint("writers=", writers), func(b *testing.B) {
			db := open(b, b.TempDir())
			value := make([]byte, 150)
			b.SetParallelism(writers)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := tryCommit(db, func(batch *kv.Batch) { batch.Set([]byte("key"), value) }); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}
