package engine

import (
	"encoding/json"

	"github.com/driftline/driftline"
)

// Written returns the answer that the write with this idempotency key got, so that
// whoever sends a long series of writes can find out where to go on. It is NotFound if
// no write with the key was acknowledged.
func (e *Engine) Written(name driftline.ViewName, key string) (driftline.IngestResult, error) {
	name = e.registry.Meant(name)
	if _, err := e.registry.View(name); err != nil {
		return driftline.IngestResult{}, err
	}
	raw, err := e.kv.Get(idempotencyKey(name, key))
	if err != nil {
		return driftline.IngestResult{}, err
	}
	if raw == nil {
		return driftline.IngestResult{}, driftline.Errorf(driftline.NotFound, "view %q has no write with idempotency key %.80q", name, key).
			WithRef(driftline.ViewRef(name)).WithHint("send the rows with that key")
	}
	var record idempotencyRecord
	if err := json.Unmarshal(raw, &record); err != nil {
		return driftline.IngestResult{}, driftline.Errorf(driftline.DataLoss, "the record of idempotency key %q is damaged: %w", key, err)
	}
	return record.Result, nil
}
