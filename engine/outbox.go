package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/monitor"
	"github.com/driftline/driftline/notify"
	"github.com/driftline/driftline/registry"
	"github.com/driftline/driftline/storage/kv"
)

const (
	deliverEvery = time.Second

	// keepDelivered is how long it is remembered, beside the ledger, that a notice arrived.
	keepDelivered = 7 * 24 * time.Hour
)

// The steps of a delivery between which a crash is tried.
const stepNoticeDelivered = "notice delivered"

// outbox delivers the notices that decisions wrote down, under
//
//	'x' ∥ number of the decision's ledger line (uint64) ∥ channel [∥ event]  →  JSON of the notice
//
// in the order of the ledger for each channel and monitor, model or view. A notice that a crash leaves
// between its delivery and the note of it is delivered again, under the same ID.
type outbox struct {
	channels *notify.Channels
	wake     chan struct{}

	mu   sync.Mutex
	busy map[string]bool // channels that a goroutine is at work on
}

func noticeKey(line uint64, channel string) []byte {
	return append(kv.AppendUint64([]byte{kv.Outbox}, line), channel...)
}

// addNotices writes down whom a decision tells, in the transaction that records it.
func (e *Engine) addNotices(tx *registry.Tx, m *driftline.Monitor, line uint64, d monitor.Decision) error {
	for _, tell := range d.Tell {
		notice := driftline.Notice{
			ID: fmt.Sprintf("%s-%s-%d", d.Alert.ID, tell.Channel, line), Channel: tell.Channel, Kind: tell.Kind,
			Alert: *d.Alert, Monitor: *m, Created: tx.Time(), State: driftline.NoticePending,
		}
		encoded, err := json.Marshal(notice)
		if err != nil {
			return err
		}
		tx.Batch().Set(noticeKey(line, tell.Channel), encoded)
	}
	return nil
}

// addHappening writes down who is told of something by such rules, in the transaction whose line says
// that it happened.
func addHappening(tx *registry.Tx, line uint64, rules []driftline.PolicyNotice, h driftline.Happening) error {
	for _, channel := range told(rules, h.Event) {
		notice := driftline.Notice{
			ID: fmt.Sprintf("%s-%s-%d", h.Event, channel, line), Channel: channel, Happening: &h, Created: tx.Time(), State: driftline.NoticePending,
		}
		encoded, err := json.Marshal(notice)
		if err != nil {
			return err
		}
		tx.Batch().Set(append(noticeKey(line, channel), " "+string(h.Event)...), encoded)
	}
	return nil
}

// told are the channels that hear of an event, each once.
func told(rules []driftline.PolicyNotice, event driftline.PolicyEvent) (channels []string) {
	for _, rule := range rules {
		if len(rule.On) > 0 && !slices.Contains(rule.On, event) {
			continue
		}
		for _, channel := range rule.Channels {
			if !slices.Contains(channels, channel) {
				channels = append(channels, channel)
			}
		}
	}
	return channels
}

// subject is what the notices of a channel keep their order by.
func subject(n *driftline.Notice) string {
	if n.Happening != nil {
		if n.Happening.Model == "" {
			return n.Happening.Subject()
		}
		return "model/" + string(n.Happening.Model)
	}
	return "monitor/" + string(n.Alert.Monitor)
}

// storedNotice is a notice and where it is kept.
type storedNotice struct {
	key []byte
	driftline.Notice
}

func (e *Engine) storedNotices() ([]storedNotice, error) {
	var all []storedNotice
	for pair, err := range e.kv.ScanPrefix([]byte{kv.Outbox}) {
		if err != nil {
			return nil, err
		}
		stored := storedNotice{key: slices.Clone(pair.Key)}
		if err := json.Unmarshal(pair.Value, &stored.Notice); err != nil {
			return nil, driftline.Errorf(driftline.DataLoss, "a notice of the outbox is damaged")
		}
		all = append(all, stored)
	}
	return all, nil
}

// Notices returns the notices of an alert (of all if ""), the oldest first: those that are
// not delivered yet, those given up, and those delivered in the last days.
func (e *Engine) Notices(of driftline.AlertID) ([]driftline.Notice, error) {
	stored, err := e.storedNotices()
	if err != nil {
		return nil, err
	}
	notices := []driftline.Notice{}
	for _, one := range stored {
		if of == "" || one.Alert.ID == of {
			notices = append(notices, one.Notice)
		}
	}
	return notices, nil
}

// RetryNotice tries a notice again that was given up, or that waits.
func (e *Engine) RetryNotice(id string) (driftline.Notice, error) {
	if err := e.begin(); err != nil {
		return driftline.Notice{}, err
	}
	defer e.end()
	stored, err := e.storedNotices()
	if err != nil {
		return driftline.Notice{}, err
	}
	known := []string{}
	for _, one := range stored {
		known = append(known, one.ID)
		if one.ID != id {
			continue
		}
		if one.State == driftline.NoticeDelivered {
			return one.Notice, driftline.Errorf(driftline.FailedPrecondition, "notice %q was delivered", id)
		}
		one.State, one.Next, one.Created = driftline.NoticePending, time.Time{}, e.now().UTC()
		err := e.storeNotice(&one)
		e.wakeOutbox()
		return one.Notice, err
	}
	return driftline.Notice{}, driftline.Unknown("notice", fmt.Sprintf("%.80s", id), known)
}

func (e *Engine) storeNotice(n *storedNotice) error {
	encoded, err := json.Marshal(n.Notice)
	if err != nil {
		return err
	}
	b := e.kv.NewBatch()
	defer b.Close()
	b.Set(n.key, encoded)
	return b.Commit()
}

func (e *Engine) wakeOutbox() {
	select {
	case e.outbox.wake <- struct{}{}:
	default:
	}
}

// outboxLoop delivers notices until the engine closes.
func (e *Engine) outboxLoop(ctx context.Context) {
	for range rounds(ctx, deliverEvery, e.outbox.wake) {
		if err := e.deliverDue(ctx); err != nil && ctx.Err() == nil {
			e.log.Error("notices are not delivered", "error", err)
		}
	}
}

// deliverDue gives each channel that has notices due, and is not at work, a goroutine. So
// a channel that is slow keeps no other one waiting.
func (e *Engine) deliverDue(ctx context.Context) error {
	// Only this goroutine makes a channel busy: one that is idle now has noted all that it did.
	e.outbox.mu.Lock()
	busy := maps.Clone(e.outbox.busy)
	e.outbox.mu.Unlock()
	stored, err := e.storedNotices()
	if err != nil {
		return err
	}
	due := map[string][]storedNotice{}
	waiting := map[string]bool{} // channel and subject of which an earlier one is not due
	var old [][]byte
	for _, one := range stored {
		if one.State == driftline.NoticeDelivered && e.now().Sub(one.Settled) > keepDelivered {
			old = append(old, one.key)
		}
		line := one.Channel + " " + subject(&one.Notice)
		if one.State != driftline.NoticePending || waiting[line] || busy[one.Channel] {
			continue
		}
		if one.Next.After(e.now()) {
			waiting[line] = true
			continue
		}
		due[one.Channel] = append(due[one.Channel], one)
	}
	for channel, notices := range due {
		e.outbox.mu.Lock()
		e.outbox.busy[channel] = true
		e.outbox.mu.Unlock()
		e.work.Go(func() { e.deliverAll(ctx, channel, notices) })
	}
	return e.forgetKeys(old)
}

// deliverAll delivers notices of a channel in their order. After a failure the later ones
// about the same monitor or model wait.
func (e *Engine) deliverAll(ctx context.Context, channel string, notices []storedNotice) {
	defer func() {
		e.outbox.mu.Lock()
		defer e.outbox.mu.Unlock()
		delete(e.outbox.busy, channel)
	}()
	failed := map[string]bool{}
	for i := range notices {
		n := &notices[i]
		if ctx.Err() != nil {
			return
		}
		if failed[subject(&n.Notice)] {
			continue
		}
		delivered, err := e.deliver(ctx, n)
		failed[subject(&n.Notice)] = !delivered
		if err != nil && ctx.Err() == nil {
			e.log.Error("what became of a notice was not written down; it may be delivered again", "notice", n.ID, "error", err)
		}
	}
}

// deliver makes one attempt and writes down what came of it.
func (e *Engine) deliver(ctx context.Context, n *storedNotice) (delivered bool, err error) {
	failure := e.outbox.channels.Deliver(ctx, e.withRemedies(&n.Notice))
	if ctx.Err() != nil {
		return false, ctx.Err() // it is tried again when the folder is opened
	}
	if err := e.reached(stepNoticeDelivered); err != nil {
		return false, err
	}
	n.Attempts++
	now := e.now().UTC()
	switch {
	case failure == nil:
		n.State, n.Settled, n.Error, n.Next = driftline.NoticeDelivered, now, "", time.Time{}
	case now.Sub(n.Created) >= notify.GiveUp:
		n.State, n.Settled, n.Error, n.Next = driftline.NoticeDead, now, shownError(failure), time.Time{}
		e.log.Error("a notice is given up", "notice", n.ID, "channel", n.Channel, "attempts", n.Attempts, "error", n.Error)
	default:
		n.Next, n.Error = now.Add(notify.Backoff(n.ID, n.Attempts)), shownError(failure)
		e.log.Warn("a notice was not delivered; it is tried again", "notice", n.ID, "channel", n.Channel, "attempt", n.Attempts, "error", n.Error)
		return false, e.storeNotice(n)
	}
	return failure == nil, e.settleNotice(n)
}

// withRemedies adds to a notice of an alert what could be done about it as things are now.
func (e *Engine) withRemedies(n *driftline.Notice) *driftline.Notice {
	if n.Happening != nil || n.Kind != driftline.AlertFiring {
		return n
	}
	now := *n
	var err error
	if now.Alert.Remedies, err = e.remediesOf(&now.Alert); err != nil {
		e.log.Warn("a notice does not say what could be done", "notice", n.ID, "error", err)
	}
	return &now
}

// settleNotice notes that a notice was delivered or given up, in the ledger too.
func (e *Engine) settleNotice(n *storedNotice) error {
	encoded, err := json.Marshal(n.Notice)
	if err != nil {
		return err
	}
	tx := e.registry.Begin()
	defer tx.Discard()
	tx.Batch().Set(n.key, encoded)
	return errors.Join(tx.SettleNotice(n.Notice), tx.Commit())
}
