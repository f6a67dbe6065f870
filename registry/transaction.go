package registry

import (
	"encoding/json"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/kv"
)

// Tx is one all-or-nothing addition to the ledger, together with whatever else
// its batch writes. Transactions run one at a time from [Registry.Begin] to
// Commit or Discard, so what a Tx has seen stays true until it is committed.
// Hold it briefly: stage files and build batches before, and
//
//	tx := r.Begin()
//	defer tx.Discard() // does nothing after Commit
//
// A Tx belongs to one goroutine.
type Tx struct {
	r       *Registry
	batch   *kv.Batch
	lines   []Line
	effects []effect
	undo    []effect     // reverts effects in head, newest last
	points  stagedPoints // in the batch
	tail    Mark         // the ledger's end with this transaction's lines
	time    time.Time
	done    bool
}

// commit is what readers see once a transaction is durable.
type commit struct {
	number  uint64
	tail    Mark
	lines   []Line
	effects []effect
	points  stagedPoints
}

// Begin waits for its turn and starts a transaction.
func (r *Registry) Begin() *Tx { return r.BeginWith(r.db.NewBatch()) }

// BeginWith is Begin with a batch that the caller filled beforehand, so that
// other writers need not wait for the filling. The transaction takes the batch over.
func (r *Registry) BeginWith(batch *kv.Batch) *Tx {
	r.sequencing.Lock()
	return &Tx{r: r, batch: batch, tail: r.tail, time: latest(r.now(), r.tailTime)}
}

// latest returns now as the ledger stores it, unless the ledger is already later.
func latest(now, floor time.Time) time.Time {
	now = now.UTC().Truncate(time.Microsecond)
	if now.Before(floor) {
		return floor
	}
	return now
}

// Batch returns the batch that will be committed, for writes that must be atomic
// with the transaction's lines. It belongs to the Tx: do not commit or close it.
func (tx *Tx) Batch() *kv.Batch { return tx.batch }

// Append adds a line whose Kind, Ref, Inputs and Body are set, and returns it
// complete. Prefer the methods that name what happened: they validate, Append
// only checks that the folds understand the body. Kinds that no fold knows are kept as they are.
func (tx *Tx) Append(line Line) (Line, error) {
	if tx.done {
		return Line{}, driftline.Errorf(driftline.Internal, "the transaction is over")
	}
	line.Sequence, line.Time, line.Prev = tx.tail.Sequence+1, tx.time, tx.tail.Hash
	if len(line.Inputs) == 0 {
		line.Inputs = nil // as it is read back: the folds must not differ
	}
	stored, err := encodeLine(&line)
	if err != nil {
		return Line{}, err
	}
	effects, err := fold(tx.r.head, &line)
	if err != nil {
		return Line{}, err
	}
	if err := (artifactWriter{tx.r.db, tx.batch}).line(tx.r.head, &line); err != nil {
		return Line{}, err
	}
	tx.batch.Set(lineKey(line.Sequence), stored)
	for _, e := range effects {
		tx.undo = append(tx.undo, e(tx.r.head))
	}
	tx.effects = append(tx.effects, effects...)
	tx.lines = append(tx.lines, line)
	tx.tail = Mark{line.Sequence, line.Hash}
	return line, nil
}

// add appends a line with the JSON of body.
func (tx *Tx) add(kind Kind, ref driftline.Ref, inputs []driftline.Ref, body any) (Line, error) {
	encoded, err := json.Marshal(body)
	if err != nil {
		return Line{}, driftline.Errorf(driftline.Invalid, "%s cannot be written as JSON: %w", ref, err)
	}
	return tx.Append(Line{Kind: kind, Ref: ref, Inputs: inputs, Body: encoded})
}

// Commit makes the transaction durable, and then visible. The next transaction
// may begin as soon as this one has its place in the log, so that concurrent
// callers share an fsync. A transaction that could not get a place leaves no
// trace. When the disk fails the outcome is unknown until the ledger is opened
// again, so the registry then refuses to write; readers keep what was durable before.
func (tx *Tx) Commit() error {
	if tx.done {
		return driftline.Errorf(driftline.Internal, "the transaction is over")
	}
	defer tx.batch.Close()
	if tx.batch.Empty() {
		return tx.commitNothing()
	}
	number, wait, err := tx.start()
	if err != nil {
		tx.Discard()
		return err
	}
	if err := wait(); err != nil {
		return tx.r.fail(err)
	}
	return tx.r.publish(number)
}

// start gives tx its place in the log, and lets the next transaction begin.
func (tx *Tx) start() (number uint64, wait func() error, err error) {
	if err := tx.r.failure(); err != nil {
		return 0, nil, err
	}
	if wait, err = tx.batch.Start(); err != nil {
		return 0, nil, err
	}
	number = tx.r.enqueue(tx)
	tx.end()
	return number, wait, nil
}

// commitNothing waits for the transactions before: the caller's answer may rest
// on them ("it is so already"), and must not be given before they are durable.
func (tx *Tx) commitNothing() error {
	before := tx.r.commits
	tx.end()
	return tx.r.awaitShown(before)
}

func (tx *Tx) end() {
	tx.done = true
	tx.r.sequencing.Unlock()
}

// Discard ends the transaction without a trace. After Commit it does nothing.
func (tx *Tx) Discard() {
	if tx.done {
		return
	}
	for i := len(tx.undo) - 1; i >= 0; i-- {
		tx.undo[i](tx.r.head)
	}
	tx.batch.Close()
	tx.end()
}
