package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/driftline/driftline"
)

// Tables returns the newest snapshot of each stored table: "features.weather",
// "datasets.late_v1".
func (c *Client) Tables(ctx context.Context) ([]driftline.Snapshot, error) {
	return field[[]driftline.Snapshot](ctx, c, http.MethodGet, path("tables"), nil, "tables")
}

// Snapshots returns the snapshots of a table, oldest first.
func (c *Client) Snapshots(ctx context.Context, table string) ([]driftline.Snapshot, error) {
	return field[[]driftline.Snapshot](ctx, c, http.MethodGet, path("tables", table, "snapshots"), nil, "snapshots")
}

// DiffSnapshots says what changed from one snapshot of a table to another.
func (c *Client) DiffSnapshots(ctx context.Context, table string, from, to driftline.SnapshotID) (*driftline.SnapshotDiff, error) {
	query := url.Values{"from": {strconv.FormatInt(int64(from), 10)}, "to": {strconv.FormatInt(int64(to), 10)}}
	return get[driftline.SnapshotDiff](ctx, c, path("tables", table, "diff")+"?"+query.Encode())
}

// snapshotChoice is the body of a request that names one snapshot.
type snapshotChoice struct {
	Snapshot driftline.SnapshotID `json:"snapshot"`
}

// TagSnapshot gives a snapshot a name, which keeps it until the tag is removed.
func (c *Client) TagSnapshot(ctx context.Context, table, tag string, snapshot driftline.SnapshotID) error {
	return c.call(ctx, http.MethodPut, path("tables", table, "tags", tag), snapshotChoice{snapshot}, &struct{}{})
}

// UntagSnapshot removes a tag.
func (c *Client) UntagSnapshot(ctx context.Context, table, tag string) error {
	return c.call(ctx, http.MethodDelete, path("tables", table, "tags", tag), nil, &struct{}{})
}

// Rollback makes a new snapshot that has the rows of an older one.
func (c *Client) Rollback(ctx context.Context, table string, to driftline.SnapshotID) (*driftline.Snapshot, error) {
	return ask[driftline.Snapshot](ctx, c, http.MethodPost, path("tables", table, "rollback"), snapshotChoice{to})
}

// Compact merges the files of a view's table where that pays.
func (c *Client) Compact(ctx context.Context, table string) (*driftline.Maintenance, error) {
	return ask[driftline.Maintenance](ctx, c, http.MethodPost, path("tables", table, "compact"), struct{}{})
}

// Expire gives up the snapshots of a table that retention does not keep.
func (c *Client) Expire(ctx context.Context, table string, retention driftline.Retention) (*driftline.Maintenance, error) {
	return ask[driftline.Maintenance](ctx, c, http.MethodPost, path("tables", table, "expire"), retention)
}

// Scrub reads every file of a table and compares it with its name.
func (c *Client) Scrub(ctx context.Context, table string) (*driftline.Maintenance, error) {
	return ask[driftline.Maintenance](ctx, c, http.MethodPost, path("tables", table, "scrub"), struct{}{})
}
