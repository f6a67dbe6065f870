package query

import "sync"

// parses remembers what the gate made of the last texts: a client that has a SELECT described
// and then run sends it twice, and a dashboard sends it every minute. A parse depends on nothing
// but its text. The zero value is ready.
type parses struct {
	mu         sync.Mutex
	young, old map[string]*Select // by text, without EXPLAIN
}

const (
	mostParses    = 256     // in each half; when the young one is full, the old one is forgotten
	longestParsed = 4 << 10 // bytes of a text that is remembered
)

func (p *parses) get(text string) (*Select, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if sel, ok := p.young[text]; ok {
		return sel, true
	}
	sel, ok := p.old[text]
	if ok {
		p.put(text, sel)
	}
	return sel, ok
}

func (p *parses) add(text string, sel *Select) {
	if len(text) > longestParsed {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.put(text, sel)
}

// put remembers a parse; p.mu is held.
func (p *parses) put(text string, sel *Select) {
	if p.young == nil || len(p.young) >= mostParses {
		p.young, p.old = make(map[string]*Select, mostParses), p.young
	}
	p.young[text] = sel
}
