package query

import (
	"cmp"
	"log/slog"
	"time"
)

// SQLOptions are the limits of SELECTs of users. The zero value of each field means its
// default.
type SQLOptions struct {
	// Command is a program and its arguments that calls [WorkerMain]: every SELECT then
	// runs in a process of it. Without one SELECTs run in this process, under limits
	// that DuckDB keeps to only mostly: that is for programs that write their SQL
	// themselves.
	Command []string

	// Readable are the folders below which the files of tables are. Where the kernel
	// can, it keeps workers from reading anything else.
	Readable []string

	// Workers is how many SELECTs run at a time; others wait. Default 4.
	Workers int

	// Waiting is how many wait before further ones are Exhausted. Default 64.
	Waiting int

	// MemoryBytes is what one SELECT may use; it does not spill. Default 1 GiB.
	MemoryBytes int64

	// Timeout ends a SELECT, the time that its reader takes not counted. Default 1 minute.
	Timeout time.Duration

	// ReaderTimeout ends a SELECT whose reader takes longer for one batch. Default 1 minute.
	ReaderTimeout time.Duration

	// MaxRows and MaxBytes end a SELECT whose answer is larger. Default 100 million, 16 GiB.
	MaxRows, MaxBytes int64

	// SinceServed is how long it is since somebody was served who waits for milliseconds, as who
	// reads online does. Large answers give way to them. Nil: nobody is, but other SELECTs.
	SinceServed func() time.Duration

	// WasReadOnline reports whether somebody has read online. From then on all SELECTs leave the
	// processors to such callers. Nil: nobody does.
	WasReadOnline func() bool

	// Logger is told of workers that die. Default: nobody is.
	Logger *slog.Logger
}

func (o SQLOptions) withDefaults() SQLOptions {
	o.Workers = cmp.Or(max(o.Workers, 0), 4)
	o.Waiting = cmp.Or(max(o.Waiting, 0), 64)
	o.MemoryBytes = cmp.Or(max(o.MemoryBytes, 0), 1<<30)
	o.Timeout = cmp.Or(max(o.Timeout, 0), time.Minute)
	o.ReaderTimeout = cmp.Or(max(o.ReaderTimeout, 0), time.Minute)
	o.MaxRows = cmp.Or(max(o.MaxRows, 0), 100_000_000)
	o.MaxBytes = cmp.Or(max(o.MaxBytes, 0), 16<<30)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}
