package kv

import "fmt"

// Metrics is the state of a DB for operators. Counts are since Open.
type Metrics struct {
	Commit           uint64 // number of the newest commit
	Acknowledged     uint64 // number of the highest acknowledged commit
	DiskBytes        uint64 // all files
	LogBytes         uint64 // the write-ahead log, live part
	MemTableBytes    uint64
	CacheBytes       int64
	CacheHits        int64
	CacheMisses      int64
	Flushes          int64
	Compactions      int64
	ReadAmp          int   // tables that a read may have to look into
	WriteStalls      int64 // times that writes waited for compactions
	Corruptions      int64 // damaged blocks met
	BackgroundErrors int64
}

// Metrics returns the present state; the zero value after Close.
func (db *DB) Metrics() Metrics {
	done, err := db.use()
	if err != nil {
		return Metrics{}
	}
	defer done()
	db.commitMu.Lock()
	commit := db.commit
	db.commitMu.Unlock()
	m := db.pebble.Metrics()
	return Metrics{
		Commit:           commit,
		Acknowledged:     db.watermark.value(),
		DiskBytes:        m.DiskSpaceUsage(),
		LogBytes:         m.WAL.Size,
		MemTableBytes:    m.MemTable.Size,
		CacheBytes:       m.BlockCache.Size,
		CacheHits:        m.BlockCache.Hits,
		CacheMisses:      m.BlockCache.Misses,
		Flushes:          m.Flush.Count,
		Compactions:      m.Compact.Count,
		ReadAmp:          m.ReadAmp(),
		WriteStalls:      db.writeStalls.Load(),
		Corruptions:      db.corruptions.Load(),
		BackgroundErrors: db.backgroundErrors.Load(),
	}
}

// String is the table that an operator reads.
func (m Metrics) String() string {
	return fmt.Sprintf(`commits    newest %d, acknowledged %d
disk       %d bytes, of which log %d
memory     memtables %d bytes, cache %d bytes
cache      %d hits, %d misses
work       %d flushes, %d compactions, read amplification %d
trouble    %d write stalls, %d corruptions, %d background errors
`, m.Commit, m.Acknowledged, m.DiskBytes, m.LogBytes, m.MemTableBytes, m.CacheBytes,
		m.CacheHits, m.CacheMisses, m.Flushes, m.Compactions, m.ReadAmp,
		m.WriteStalls, m.Corruptions, m.BackgroundErrors)
}
