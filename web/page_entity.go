package web

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/driftline/driftline"
)

// entityLook is the part of a view's page in which a person looks one entity up: what the
// online store serves for it now, and how old that is.
type entityLook struct {
	Keys   []entityKey
	Asked  bool
	Values []lookedValue
	Failed *driftline.Error
}

type entityKey struct {
	Name, Type, Value string
}

type lookedValue struct {
	Feature, Value string
	Status         driftline.Status
	Event          time.Time // zero if there is no row
}

// keyParameter is what the URL calls a join key's value, so that no key is taken for
// another parameter.
const keyParameter = "key."

// lookUp returns nil for a view that is not served online.
func (s *Server) lookUp(ctx context.Context, view *driftline.FeatureView, query url.Values) *entityLook {
	if view.Source != nil || view.Horizon > 0 {
		return nil
	}
	look := entityLook{Asked: query.Has("look")}
	for _, k := range view.JoinKeys {
		look.Keys = append(look.Keys, entityKey{k.Name, string(k.Type), query.Get(keyParameter + k.Name)})
	}
	if !look.Asked {
		return &look
	}
	var err error
	if look.Values, err = s.lookedUp(ctx, view, look.Keys); err != nil {
		look.Failed, _ = present(err)
	}
	return &look
}

func (s *Server) lookedUp(ctx context.Context, view *driftline.FeatureView, keys []entityKey) ([]lookedValue, error) {
	entity, err := s.entityOf(view, keys)
	if err != nil {
		return nil, err
	}
	defer entity.Release()
	req := driftline.OnlineRequest{FeatureSet: driftline.FeatureSet{Projections: []driftline.Projection{{View: view.Name.Exactly()}}}}
	answer, err := s.engine.Online(ctx, req, entity)
	if err != nil {
		return nil, err
	}
	defer answer.Release()
	values := make([]lookedValue, len(answer.Features))
	for i, feature := range answer.Features {
		column := answer.Batch.Column(int(entity.NumCols()) + i)
		values[i] = lookedValue{Feature: feature.Name, Status: feature.Statuses[0]}
		if column.IsValid(0) {
			values[i].Value = column.ValueStr(0)
		}
		if at := feature.EventTimes[0]; at != 0 {
			values[i].Event = time.UnixMicro(int64(at)).UTC()
		}
	}
	return values, nil
}

// entityOf reads what a person typed as one row of join keys.
func (s *Server) entityOf(view *driftline.FeatureView, keys []entityKey) (arrow.RecordBatch, error) {
	if len(keys) == 0 {
		return array.NewRecordBatch(arrow.NewSchema(nil, nil), nil, 1), nil
	}
	typed := jsonColumns{values: map[string][]any{}}
	types := map[string]driftline.Type{}
	for i, key := range keys {
		types[key.Name] = view.JoinKeys[i].Type
		typed.names = append(typed.names, key.Name)
		typed.values[key.Name] = []any{asJSON(view.JoinKeys[i].Type, key.Value)}
	}
	return typed.batch(s.engine.Allocator(), typed.names, types)
}

// asJSON is a typed text as the JSON value that a request would have for it.
func asJSON(t driftline.Type, text string) any {
	switch t {
	case driftline.Int32, driftline.Int64, driftline.Float32, driftline.Float64:
		return json.Number(strings.TrimSpace(text))
	case driftline.Bool:
		if text = strings.ToLower(strings.TrimSpace(text)); text == "true" || text == "false" {
			return text == "true"
		}
	}
	return text
}

// nullShares returns, by feature, which share of the view's rows has no value for it: from
// one scan, and empty if that could not be done in a moment.
func (s *Server) nullShares(ctx context.Context, view *driftline.FeatureView, rows int64) map[string]float64 {
	if rows == 0 || rows > pictureRows || len(view.Features) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, picturePatience)
	defer cancel()
	parts := []string{"count(*)"}
	for _, f := range view.Features {
		parts = append(parts, fmt.Sprintf("count(%s)", quoteName(f.Name)))
	}
	counts, err := numbers(ctx, s.engine, fmt.Sprintf("SELECT %s FROM features.%s", strings.Join(parts, ", "), quoteName(string(view.Name.Exactly()))))
	if err != nil || len(counts) != 1 || counts[0][0] == 0 {
		s.log.DebugContext(ctx, "no null shares", "view", view.Name, "error", err)
		return nil
	}
	shares := map[string]float64{}
	for i, f := range view.Features {
		shares[f.Name] = 1 - float64(counts[0][i+1]/counts[0][0])
	}
	return shares
}
