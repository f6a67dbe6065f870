package flight

import (
	"crypto/rand"
	"slices"
	"sync"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/driftline/driftline"
)

// Limits of prepared statements, which live on the server between calls.
const (
	maxStatements     = 1024
	statementLifetime = time.Hour // since the last use
	maxArgumentBytes  = 1 << 20   // bound to one statement
	maxArgumentRows   = 1000      // of which each is a run of the query
)

// statements are the prepared statements that are open. A handle is 128 random
// bits: whoever knows it may use it. There is no goroutine that expires them; each
// new one clears away those that have expired.
type statements struct {
	now func() time.Time

	mu       sync.Mutex
	byHandle map[string]*statement
}

type statement struct {
	query     string
	arguments []arrow.RecordBatch // of one row each; none if none are bound
	used      time.Time
}

func newStatements(now func() time.Time) *statements {
	return &statements{now: now, byHandle: make(map[string]*statement)}
}

// create keeps a query and returns its handle.
func (s *statements) create(query string) (handle []byte, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	for handle, old := range s.byHandle {
		if now.Sub(old.used) > statementLifetime {
			s.drop(handle)
		}
	}
	if len(s.byHandle) >= maxStatements {
		return nil, driftline.Errorf(driftline.Exhausted, "%d prepared statements are open", maxStatements).
			WithHint("close those that are done with; unused ones expire after %s", statementLifetime)
	}
	text := rand.Text()
	s.byHandle[text] = &statement{query: query, used: now}
	return []byte(text), nil
}

// get returns a statement's query and arguments; the caller releases the arguments.
func (s *statements) get(handle []byte) (query string, arguments []arrow.RecordBatch, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found, err := s.find(handle)
	if err != nil {
		return "", nil, err
	}
	for _, row := range found.arguments {
		row.Retain()
	}
	return found.query, slices.Clone(found.arguments), nil
}

// bind gives a statement its arguments in place of those it had.
func (s *statements) bind(handle []byte, arguments []arrow.RecordBatch) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	found, err := s.find(handle)
	if err != nil {
		return err
	}
	driftline.ReleaseAll(found.arguments)
	for _, row := range arguments {
		row.Retain()
	}
	found.arguments = slices.Clone(arguments)
	return nil
}

// close forgets a statement. One that is not there is closed already.
func (s *statements) close(handle []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(string(handle))
}

func (s *statements) closeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for handle := range s.byHandle {
		s.drop(handle)
	}
}

func (s *statements) find(handle []byte) (*statement, error) {
	found, ok := s.byHandle[string(handle)]
	if ok && s.now().Sub(found.used) > statementLifetime {
		s.drop(string(handle))
		ok = false
	}
	if !ok {
		return nil, driftline.Errorf(driftline.NotFound, "the prepared statement does not exist").
			WithHint("it was closed, or unused for %s: prepare it again", statementLifetime)
	}
	found.used = s.now()
	return found, nil
}

func (s *statements) drop(handle string) {
	if old, ok := s.byHandle[handle]; ok {
		driftline.ReleaseAll(old.arguments)
	}
	delete(s.byHandle, handle)
}
