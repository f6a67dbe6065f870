package query

import (
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/driftline/driftline/storage/columns"
)

const (
	// The most files that are kept open, and their bytes. A process has 65,530 mappings.
	mostKeptFiles = 1024
	mostKeptBytes = 1536 << 20

	// keptOpen is how long a file that nobody reads is kept open, at least; twice as long
	// at most.
	keptOpen = 10 * time.Second
)

// openFiles keeps files that joins have read open for a while. A file is mapped into memory
// page by page as it is read, which is a fifth of the work of a join that finds all of them
// in the system's cache.
type openFiles struct {
	mu    sync.Mutex
	files map[string]*openFile // by path
	bytes int64
	tick  *time.Timer // of the next sweep; nil if there are no files
}

type openFile struct {
	file *columns.File
	info fs.FileInfo // as it was opened
	used bool        // since the last sweep
}

// open returns the file at path. The caller closes it.
func (o *openFiles) open(path string) (*columns.File, error) {
	info, err := os.Stat(path)
	if err == nil {
		if f := o.find(path, info); f != nil {
			return f, nil
		}
	}
	f, openErr := columns.Open(path)
	if err == nil && openErr == nil {
		o.keep(path, info, f)
	}
	return f, openErr
}

// find returns the file if it is kept open, and is still what is at the path.
func (o *openFiles) find(path string, now fs.FileInfo) *columns.File {
	o.mu.Lock()
	defer o.mu.Unlock()
	kept := o.files[path]
	if kept == nil {
		return nil
	}
	if !os.SameFile(kept.info, now) || kept.info.Size() != now.Size() || !kept.info.ModTime().Equal(now.ModTime()) {
		o.drop(path)
		return nil
	}
	kept.used = true
	kept.file.Retain()
	return kept.file
}

// keep keeps a file open that was not before, if there is room.
func (o *openFiles) keep(path string, info fs.FileInfo, f *columns.File) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.files[path] != nil || len(o.files) == mostKeptFiles || o.bytes+f.Size() > mostKeptBytes {
		return
	}
	if o.files == nil {
		o.files = map[string]*openFile{}
	}
	f.Retain()
	o.files[path] = &openFile{file: f, info: info, used: true}
	o.bytes += f.Size()
	if o.tick == nil {
		o.tick = time.AfterFunc(keptOpen, o.sweep)
	}
}

// drop lets go of a kept file; who reads it goes on. o is locked.
func (o *openFiles) drop(path string) {
	kept := o.files[path]
	delete(o.files, path)
	o.bytes -= kept.file.Size()
	kept.file.Close()
}

// sweep lets go of the files that were not used since the last sweep.
func (o *openFiles) sweep() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for path, kept := range o.files {
		if !kept.used {
			o.drop(path)
		}
		kept.used = false
	}
	if o.tick = nil; len(o.files) > 0 {
		o.tick = time.AfterFunc(keptOpen, o.sweep)
	}
}

// close lets go of all files.
func (o *openFiles) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for path := range o.files {
		o.drop(path)
	}
	if o.tick != nil {
		o.tick.Stop()
		o.tick = nil
	}
}
