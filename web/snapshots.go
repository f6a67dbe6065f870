package web

import (
	"net/http"
	"strconv"

	"github.com/driftline/driftline"
)

type tableList struct {
	Tables []driftline.Snapshot `json:"tables"` // the newest snapshot of each
}

func (s *Server) tables(r *http.Request) (tableList, error) {
	tables, err := s.engine.StoredTables(r.Context())
	return tableList{Tables: list(tables)}, err
}

type snapshotList struct {
	Snapshots []driftline.Snapshot `json:"snapshots"`
}

func (s *Server) tableSnapshots(r *http.Request) (snapshotList, error) {
	snapshots, err := s.engine.Snapshots(r.Context(), r.PathValue("table"))
	return snapshotList{Snapshots: list(snapshots)}, err
}

func (s *Server) diffSnapshots(r *http.Request) (driftline.SnapshotDiff, error) {
	var sides [2]driftline.SnapshotID
	for i, name := range []string{"from", "to"} {
		id, err := strconv.ParseInt(r.URL.Query().Get(name), 10, 64)
		if err != nil {
			return driftline.SnapshotDiff{}, driftline.Errorf(driftline.Invalid, "parameter %q is not a snapshot id", name).
				WithHint("list the snapshots of the table for their ids")
		}
		sides[i] = driftline.SnapshotID(id)
	}
	return s.engine.DiffSnapshots(r.Context(), r.PathValue("table"), sides[0], sides[1])
}

// snapshotChoice is the body of a request that names one snapshot.
type snapshotChoice struct {
	Snapshot driftline.SnapshotID `json:"snapshot"`
}

func (s *Server) tagSnapshot(r *http.Request) (struct{}, error) {
	chosen, err := readJSON[snapshotChoice](r)
	if err != nil {
		return struct{}{}, err
	}
	return struct{}{}, s.engine.TagSnapshot(r.Context(), r.PathValue("table"), r.PathValue("tag"), chosen.Snapshot)
}

func (s *Server) untagSnapshot(r *http.Request) (struct{}, error) {
	return struct{}{}, s.engine.UntagSnapshot(r.Context(), r.PathValue("table"), r.PathValue("tag"))
}

func (s *Server) rollback(r *http.Request) (driftline.Snapshot, error) {
	chosen, err := readJSON[snapshotChoice](r)
	if err != nil {
		return driftline.Snapshot{}, err
	}
	return s.engine.Rollback(r.Context(), r.PathValue("table"), chosen.Snapshot)
}

func (s *Server) compact(r *http.Request) (driftline.Maintenance, error) {
	return s.engine.Compact(r.Context(), r.PathValue("table"))
}

func (s *Server) expire(r *http.Request) (driftline.Maintenance, error) {
	retention, err := readJSON[driftline.Retention](r)
	if err != nil {
		return driftline.Maintenance{}, err
	}
	return s.engine.Expire(r.Context(), r.PathValue("table"), retention)
}

func (s *Server) scrub(r *http.Request) (driftline.Maintenance, error) {
	return s.engine.Scrub(r.Context(), r.PathValue("table"))
}
