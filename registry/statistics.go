package registry

import (
	"encoding/json"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/kv"
)

// The column statistics of a dataset hold values of its rows: the least, the greatest,
// the most frequent. They are kept beside the ledger and not in it, because the ledger
// never forgets and a value may have to be: an erasure replaces them.

// statisticsKey is 'd' ∥ name ∥ version.
func statisticsKey(d *driftline.Dataset) []byte {
	return kv.AppendUint64(kv.AppendString([]byte{kv.DatasetStatistics}, string(d.Name)), uint64(d.Version))
}

// keepStatistics writes the statistics of d to the batch and returns d without them,
// as a ledger line has it.
func (tx *Tx) keepStatistics(d driftline.Dataset) (driftline.Dataset, error) {
	if len(d.Statistics) == 0 {
		return d, nil
	}
	encoded, err := json.Marshal(d.Statistics)
	if err != nil {
		return d, err
	}
	tx.batch.Set(statisticsKey(&d), encoded)
	d.Statistics = nil
	return d, nil
}

// withStatistics fills in the statistics of a dataset.
func (r *Registry) withStatistics(d *driftline.Dataset) error {
	encoded, err := r.db.Get(statisticsKey(d))
	if err != nil || encoded == nil {
		return err
	}
	if err := json.Unmarshal(encoded, &d.Statistics); err != nil {
		return driftline.Errorf(driftline.DataLoss, "the statistics of %s are damaged: %w", d.Ref(), err).
			WithHint("rebuild the dataset, or restore the data folder from a backup")
	}
	return nil
}
