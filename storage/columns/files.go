package columns

import (
	"io/fs"
	"os"
	"sync"
	"time"
)

const (
	// mostKeptFiles bounds the files that are kept open: a process has 65,530 mappings.
	mostKeptFiles = 1024

	// MostMapped is how many bytes of files stay in memory that nobody reads at the moment,
	// at most, and so the size of a table that can.
	MostMapped = 1536 << 20

	// keptOpen is how long a file that nobody reads is kept open, at least; twice as long
	// at most.
	keptOpen = 10 * time.Second
)

// Files keeps files open for a while after they were read. A file is mapped into memory page
// by page as it is read, which is a fifth of the work of who finds all of them in the system's
// cache, and its footer is taken apart. What was mapped stays so for [MostMapped] bytes of
// files; of others it is let go as soon as nobody reads them, and only the footer is kept.
//
// The zero Files is ready; a nil one keeps nothing. It may be used concurrently.
type Files struct {
	mu    sync.Mutex
	files map[string]*keptFile // by path
	bytes int64
	tick  *time.Timer // of the next sweep; nil if there are no files
}

type keptFile struct {
	file *File
	info fs.FileInfo // as it was opened
	used bool        // since the last sweep
}

// Open returns the file at path, as [Open] does. The caller closes it.
func (o *Files) Open(path string) (*File, error) {
	if o == nil {
		return Open(path)
	}
	info, err := os.Stat(path)
	if err == nil {
		if f := o.find(path, info); f != nil {
			return f, nil
		}
	}
	f, openErr := Open(path)
	if err == nil && openErr == nil {
		o.keep(path, info, f)
	}
	return f, openErr
}

// find returns the file if it is kept open, and is still what is at the path.
func (o *Files) find(path string, now fs.FileInfo) *File {
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
func (o *Files) keep(path string, info fs.FileInfo, f *File) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.files[path] != nil || len(o.files) == mostKeptFiles {
		return
	}
	if o.files == nil {
		o.files = map[string]*keptFile{}
	}
	if o.bytes+f.Size() <= MostMapped {
		o.bytes += f.Size()
	} else {
		f.lean.Store(true)
	}
	f.Retain()
	o.files[path] = &keptFile{file: f, info: info, used: true}
	if o.tick == nil {
		o.tick = time.AfterFunc(keptOpen, o.sweep)
	}
}

// drop lets go of a kept file; who reads it goes on. o is locked.
func (o *Files) drop(path string) {
	kept := o.files[path]
	delete(o.files, path)
	o.thin(kept.file)
	kept.file.Close()
}

// thin lets nothing of a file stay mapped while nobody reads it. o is locked.
func (o *Files) thin(f *File) {
	if f.lean.CompareAndSwap(false, true) {
		o.bytes -= f.Size()
	}
}

// Thin says of files, by path, that they are of a table that is too large to stay in memory
// while nobody reads it, so that they leave others their place there.
func (o *Files) Thin(paths []string) {
	if o == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, path := range paths {
		if kept := o.files[path]; kept != nil {
			o.thin(kept.file)
		}
	}
}

// sweep lets go of the files that were not used since the last sweep.
func (o *Files) sweep() {
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

// Close lets go of all files. Those that are being read stay open until they are closed.
func (o *Files) Close() {
	if o == nil {
		return
	}
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
