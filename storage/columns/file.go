package columns

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync/atomic"
	"syscall"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/metadata"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"github.com/driftline/driftline"
)

// File is a Parquet file mapped into memory. It may be used concurrently.
type File struct {
	name   string // without its folder
	disk   *os.File
	data   []byte // the mapping
	reader *file.Reader
	meta   *metadata.FileMetaData
	leaves []Leaf
	groups []group
	users  atomic.Int64 // of the mapping
	lean   atomic.Bool  // one of its users is [Files], which is alone to keep nothing in memory
}

// Leaf is a column of a file that is not nested.
type Leaf struct {
	Name string
	ID   int            // the field id; 0 if the file has none
	Type arrow.DataType // as the file says

	physical parquet.Type
	nullable bool
	column   int // in the file's Parquet schema
}

// group is a row group.
type group struct {
	rows   int
	chunks []atomic.Pointer[chunk] // by leaf, each found at first use
}

// chunk is one column of one row group.
type chunk struct {
	offset, size int64 // of its pages, the dictionary with them
	dictionary   int64 // offset of the dictionary page; 0 if there is none
	index        *metadata.IndexLocation
	codec        compress.Compression
	pages        atomic.Pointer[[]pageLocation] // found at first use
}

// Open maps the file at path and reads its footer. The caller closes the result.
func Open(path string) (_ *File, err error) {
	defer recovered(&err)
	f, err := mapFile(path)
	if err != nil {
		return nil, damaged(fmt.Sprintf("file %q", filepath.Base(path)), err)
	}
	f.users.Store(1)
	if err := f.readFooter(); err != nil {
		f.Close()
		return nil, damaged(fmt.Sprintf("file %q", f.name), err)
	}
	return f, nil
}

func mapFile(path string) (_ *File, err error) {
	disk, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			disk.Close()
		}
	}()
	info, err := disk.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() == 0 || !info.Mode().IsRegular() {
		return nil, errDamaged
	}
	data, err := syscall.Mmap(int(disk.Fd()), 0, int(info.Size()), syscall.PROT_READ, syscall.MAP_SHARED)
	return &File{name: filepath.Base(path), disk: disk, data: data}, err
}

// Retain makes another user of the file, who closes it too.
func (f *File) Retain() { f.users.Add(1) }

// Close lets go of the file. Its bytes stay mapped for as long as an array that was
// handed out lies in them.
func (f *File) Close() { f.release() }

func (f *File) release() {
	switch f.users.Add(-1) {
	case 0:
		_ = syscall.Munmap(f.data)
		f.disk.Close()
	case 1:
		if f.lean.Load() {
			f.forget(0, int64(len(f.data)))
		}
	}
}

func (f *File) readFooter() (err error) {
	if f.reader, err = file.NewParquetReader(bytes.NewReader(f.data)); err != nil {
		return err
	}
	f.meta = f.reader.MetaData()
	schema, err := pqarrow.FromParquet(f.meta.Schema, nil, nil)
	if err != nil {
		return err
	}
	byName := map[string]arrow.Field{}
	for _, field := range schema.Fields() {
		byName[field.Name] = field
	}
	for i, c := range f.meta.Schema.Columns() {
		if len(c.ColumnPath()) != 1 || c.MaxRepetitionLevel() != 0 || c.MaxDefinitionLevel() > 1 {
			continue
		}
		f.leaves = append(f.leaves, Leaf{
			Name: c.Name(), ID: int(max(c.SchemaNode().FieldID(), 0)), Type: byName[c.Name()].Type,
			physical: c.PhysicalType(), nullable: c.MaxDefinitionLevel() == 1, column: i,
		})
	}
	f.groups = make([]group, len(f.meta.RowGroups))
	for i := range f.groups {
		if err := f.readGroup(i); err != nil {
			return err
		}
	}
	return nil
}

func (f *File) readGroup(i int) error {
	meta := f.meta.RowGroup(i)
	g := &f.groups[i]
	if meta.NumRows() < 0 || meta.NumRows() > 1<<31-1 {
		return fmt.Errorf("%w: row group %d has %d rows", errDamaged, i, meta.NumRows())
	}
	g.rows = int(meta.NumRows())
	g.chunks = make([]atomic.Pointer[chunk], len(f.leaves))
	return nil
}

// chunk returns the column of a row group.
func (f *File) chunk(group, leaf int) (*chunk, error) {
	known := &f.groups[group].chunks[leaf]
	if c := known.Load(); c != nil {
		return c, nil
	}
	m, err := f.meta.RowGroup(group).ColumnChunk(f.leaves[leaf].column)
	if err != nil {
		return nil, err
	}
	c := &chunk{codec: m.Compression(), index: m.GetOffsetIndexLocation(), offset: m.DataPageOffset(), size: m.TotalCompressedSize()}
	if m.HasDictionaryPage() {
		c.dictionary = m.DictionaryPageOffset()
		if c.dictionary > 0 && c.dictionary < c.offset {
			c.offset = c.dictionary
		}
	}
	if c.offset < 0 || c.size < 0 || c.offset > int64(len(f.data))-c.size || c.dictionary < 0 || c.dictionary > int64(len(f.data)) {
		return nil, fmt.Errorf("%w: column %q lies outside of the file", errDamaged, f.leaves[leaf].Name)
	}
	known.Store(c)
	return c, nil
}

// Size is the size of the file in bytes.
func (f *File) Size() int64 { return int64(len(f.data)) }

// Forget tells the system that the pages of a row group are not needed for now, so that
// reading a large table does not make the process as large as the table. They stay in the
// system's cache; what is read again is mapped again.
func (f *File) Forget(group int) {
	begin, end := int64(len(f.data)), int64(0)
	for i := range f.groups[group].chunks {
		if c := f.groups[group].chunks[i].Load(); c != nil {
			begin, end = min(begin, c.offset), max(end, c.offset+c.size)
		}
	}
	f.forget(begin, end)
}

// forget unmaps what lies between two offsets, as far as it is mapped.
func (f *File) forget(begin, end int64) {
	page := int64(os.Getpagesize())
	if begin = (begin + page - 1) / page * page; begin < end {
		_ = syscall.Madvise(f.data[begin:end], syscall.MADV_DONTNEED) // a hint: failing does no harm
	}
}

// Groups returns the number of row groups.
func (f *File) Groups() int { return len(f.groups) }

// Rows returns the number of rows of a row group.
func (f *File) Rows(group int) int { return f.groups[group].rows }

// Bytes returns how many bytes the columns of a row group take when decompressed.
func (f *File) Bytes(group int) int64 { return f.meta.RowGroup(group).TotalByteSize() }

// Leaves lists the columns that are not nested.
func (f *File) Leaves() []Leaf { return f.leaves }

// Find returns the place of a column among the leaves: by field id, or by name if the
// column or the file has none.
func (f *File) Find(c Column) (leaf int, ok bool) {
	for i, l := range f.leaves {
		if c.ID != 0 && l.ID != 0 {
			if c.ID == l.ID {
				return i, true
			}
		} else if c.Name == l.Name {
			return i, true
		}
	}
	return 0, false
}

// Bounds returns the least and the greatest value of a column in a row group, in the
// plain encoding of Parquet. It returns false if the file does not say.
func (f *File) Bounds(group, leaf int) (least, greatest []byte, ok bool) {
	m, err := f.meta.RowGroup(group).ColumnChunk(f.leaves[leaf].column)
	if err != nil {
		return nil, nil, false
	}
	if set, err := m.StatsSet(); err != nil || !set {
		return nil, nil, false
	}
	stats, err := m.Statistics()
	if err != nil || !stats.HasMinMax() {
		return nil, nil, false
	}
	return stats.EncodeMin(), stats.EncodeMax(), true
}

// locations returns where the data pages of a chunk are. The offset index says it; a
// file without one is walked from page to page.
func (f *File) locations(group int, c *chunk) ([]pageLocation, error) {
	if known := c.pages.Load(); known != nil {
		return *known, nil
	}
	pages, err := f.findPages(c)
	if err != nil {
		return nil, err
	}
	rows := int32(f.groups[group].rows)
	for i, p := range pages {
		if p.offset < c.offset || p.offset >= c.offset+c.size || i == 0 && p.first != 0 ||
			i > 0 && p.first <= pages[i-1].first || p.first >= rows {
			return nil, errDamaged
		}
	}
	if len(pages) == 0 && rows > 0 {
		return nil, errDamaged
	}
	c.pages.Store(&pages)
	return pages, nil
}

func (f *File) findPages(c *chunk) ([]pageLocation, error) {
	if c.index != nil && c.index.Offset > 0 && c.index.Length > 0 && c.index.Offset <= int64(len(f.data))-int64(c.index.Length) {
		return readOffsetIndex(f.data[c.index.Offset:][:c.index.Length])
	}
	var pages []pageLocation
	first := 0
	for at, end := c.offset, c.offset+c.size; at < end; {
		h, err := readPageHeader(f.data[at:end], int(end-at))
		if err != nil {
			return nil, err
		}
		if h.kind == dataPage || h.kind == dataPageV2 {
			if h.values > 0 {
				pages = append(pages, pageLocation{offset: at, first: int32(first)})
			}
			if first += h.values; first > 1<<31-1 {
				return nil, errDamaged
			}
		}
		at += int64(h.size + h.storedSize)
	}
	return pages, nil
}

// Guard runs read, which looks at bytes of mapped files, and turns a panic into an error:
// also the fault that reading a mapped file brings about when its disk fails or somebody
// has cut it off.
func Guard(read func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer recovered(&err)
	return read()
}

func recovered(err *error) {
	if p := recover(); p != nil {
		*err = damaged("a stored file", panicked(p))
	}
}

func panicked(p any) error { return fmt.Errorf("panic: %v\n%s", p, debug.Stack()) }

// damaged is the error of a file, or a column of one, that cannot be read. It does not show
// the cause, which may name paths of the server.
func damaged(what string, err error) error {
	var ours *driftline.Error
	if errors.As(err, &ours) {
		return err
	}
	return driftline.Errorf(driftline.DataLoss, "%s cannot be read: %w", what, hidden{err}).
		WithHint("write it again if it is a view's source; driftline check names damaged files of the store, and the server's log the cause")
}

// hidden keeps a cause for errors.As and logs without showing its text.
type hidden struct{ error }

func (hidden) Error() string   { return "it is missing or damaged" }
func (h hidden) Unwrap() error { return h.error }
