package predictions

import (
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/driftline/driftline"
)

// The columns of a view with labels. LabelOf is its join key: what a label is of, so that the
// newest row of each is the label that stands.
const (
	LabelOf   = "label_of"
	Arrived   = "arrived" // the created timestamp
	At        = "prediction_time"
	WithinUS  = "within_us"
	Label     = "label"      // a number
	LabelText = "label_text" // a class that has a name
	By        = "labelled_by"
	KnownAt   = "labelled_at" // of [Joined]: when the label became known
)

// LabelFields are the columns that [Joined] adds to those of a log.
var LabelFields = []arrow.Field{
	{Name: Label, Type: arrow.PrimitiveTypes.Float64, Nullable: true}, {Name: LabelText, Type: arrow.BinaryTypes.String, Nullable: true},
	{Name: KnownAt, Type: driftline.Time, Nullable: true}, {Name: By, Type: arrow.BinaryTypes.String, Nullable: true},
}

// LabelsView is the view with a model's labels.
func LabelsView(model driftline.ModelName, entity driftline.EntityName) driftline.FeatureView {
	return driftline.FeatureView{
		Name: LabelsName(model), Entities: []driftline.EntityName{entity}, EventTimestamp: driftline.DefaultEventTimestamp, CreatedTimestamp: Arrived, TTL: servedFor,
		Description: "Labels of predictions of " + string(model) + ", by when they became known", Tags: map[string]string{MadeTag: string(model)},
		Features: []driftline.Field{
			field(ID, driftline.String, "whose label it is; null if it is an entity's"),
			field(Entity, driftline.String, "the join keys, JSON"), field(At, driftline.Timestamp, "of the predictions"),
			field(WithinUS, driftline.Int64, "how much earlier they may be, in microseconds"),
			field(Label, driftline.Float64, "a number"), field(LabelText, driftline.String, "a class that has a name"),
			field(By, driftline.String, "who said so"),
		},
	}
}

// LabelEntity is what labels are rows about.
func LabelEntity(name driftline.EntityName) driftline.Entity {
	return driftline.Entity{Name: name, JoinKeys: []driftline.Field{{Name: LabelOf, Type: driftline.String}},
		Description: "What a label is of: a prediction, or the predictions of an entity at a time"}
}

// skew is how far a sender's clock may be ahead of ours.
const skew = time.Minute

// CheckLabel refuses what can be no label.
func CheckLabel(l *driftline.Label, now time.Time) error {
	const most = 4 << 10
	byEntity := len(l.Entity) > 0 || !l.At.IsZero() || l.Within != 0
	switch {
	case l.Prediction == "" && !byEntity:
		return driftline.Errorf(driftline.Invalid, "it does not say of which prediction").WithHint("set prediction_id, or entity and at")
	case l.Prediction != "" && byEntity:
		return driftline.Errorf(driftline.Invalid, "it is of prediction %.80q and of an entity", l.Prediction).WithHint("set prediction_id, or entity and at")
	case byEntity && len(l.Entity) == 0:
		return driftline.Errorf(driftline.Invalid, "it has a time and no entity").WithHint("set entity to the join keys that the predictions were logged with")
	case byEntity && l.At.IsZero():
		return driftline.Errorf(driftline.Invalid, "it has an entity and no time").WithHint("set at to the time of the predictions")
	case l.Within < 0:
		return driftline.Errorf(driftline.Invalid, "within is %s", l.Within)
	case len(l.Prediction) > most || len(EntityText(l.Entity)) > most:
		return driftline.Errorf(driftline.Invalid, "what it is of has more than %d bytes", most)
	case l.Time.After(now.Add(skew)):
		return driftline.Errorf(driftline.Invalid, "it is from the future: it became known at %s, and now is %s",
			l.Time.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339)).WithHint("time is when the truth became known; leave it out for now")
	}
	switch v := l.Label.(type) {
	case nil:
	case string:
		if len(v) > most || v == "" {
			return driftline.Errorf(driftline.Invalid, "its class has %d bytes, want 1 to %d", len(v), most)
		}
	default:
		if x := numberOf(v); x != x {
			return driftline.Errorf(driftline.Invalid, "label %v is neither a number nor a text", v).WithHint("null takes a label back")
		}
	}
	return nil
}

// labelOf is the join key of a label.
func labelOf(l *driftline.Label) string {
	if l.Prediction != "" {
		return "id:" + l.Prediction
	}
	return "at:" + strconv.FormatInt(l.At.UnixMicro(), 10) + ":" + EntityText(l.Entity)
}

// LabelRows returns labels as rows of a view of [LabelsView]. They arrived now. The caller
// releases them.
func LabelRows(mem memory.Allocator, schema *arrow.Schema, labels []driftline.Label, now time.Time) arrow.RecordBatch {
	b := array.NewRecordBuilder(mem, schema)
	defer b.Release()
	for i := range labels {
		l := &labels[i]
		known := l.Time
		if known.IsZero() {
			known = now
		}
		values := map[string]any{LabelOf: labelOf(l), driftline.DefaultEventTimestamp: known, Arrived: now}
		if l.Prediction != "" {
			values[ID] = l.Prediction
		} else {
			values[Entity], values[At], values[WithinUS] = EntityText(l.Entity), l.At, l.Within.Microseconds()
		}
		if s, ok := l.Label.(string); ok {
			values[LabelText] = s
		} else if l.Label != nil {
			values[Label] = numberOf(l.Label)
		}
		if l.By != "" {
			values[By] = l.By
		}
		for j, f := range schema.Fields() {
			kind, _ := driftline.TypeOf(f.Type)
			Append(b.Field(j), kind, values[f.Name])
		}
	}
	return b.NewRecordBatch()
}

// Joined is a SELECT of a log's predictions, each once, with the label that each has by now, by
// names of tables as SQL writes them. labels is "" if there are none yet. Its columns are
// those of the log, then label, label_text, labelled_at and labelled_by; they are null where
// there is no label.
//
// A label is of the prediction that it names, or, by entity, of those at the newest time that it
// reaches. Of several that a prediction has, the one that became known last counts; of these the
// one that arrived last, and of these the one whose key is the greatest.
func Joined(log, labels, id, at string, hasEntity bool) string {
	if labels == "" {
		return "SELECT *, NULL::DOUBLE AS label, NULL::VARCHAR AS label_text, NULL::TIMESTAMPTZ AS labelled_at, NULL::VARCHAR AS labelled_by FROM " + log
	}
	replace := strings.NewReplacer("$log", log, "$labels", labels, "$id", id, "$at", at)
	byEntity := ""
	if hasEntity {
		byEntity = `
	UNION ALL
	SELECT p.$id AS of_prediction, l.* FROM l
	JOIN (SELECT l.label_of, max(p.$at) AS newest FROM l JOIN p
		ON p.entity = l.entity AND p.$at <= l.prediction_time AND epoch_us(p.$at) >= epoch_us(l.prediction_time) - l.within_us
		GROUP BY l.label_of) AS reached ON reached.label_of = l.label_of
	JOIN p ON p.entity = l.entity AND p.$at = reached.newest`
	}
	return replace.Replace(`WITH p AS (SELECT * FROM $log),
l AS (SELECT * FROM $labels),
matched AS (
	SELECT p.$id AS of_prediction, l.* FROM p JOIN l ON l.prediction_id = p.$id::VARCHAR` + byEntity + `
),
standing AS (
	SELECT *, row_number() OVER (PARTITION BY of_prediction ORDER BY event_timestamp DESC, arrived DESC, label_of DESC) AS place FROM matched
)
SELECT p.*, s.label, s.label_text, s.event_timestamp AS labelled_at, s.labelled_by
FROM p LEFT JOIN standing AS s ON s.of_prediction = p.$id AND s.place = 1`)
}

// Orphans is a SELECT of how many labels stand, were taken back, are superseded, and of those that
// stand have no prediction, of a log's newest rows, and of all rows and the newest of its labels.
func Orphans(log, labels, latest, id, at string, hasEntity bool) string {
	byEntity := ""
	if hasEntity {
		byEntity = " UNION ALL SELECT l.label_of FROM l JOIN p ON p.entity = l.entity AND p.$at <= l.prediction_time AND epoch_us(p.$at) >= epoch_us(l.prediction_time) - l.within_us"
	}
	return strings.NewReplacer("$log", log, "$labels", labels, "$latest", latest, "$id", id, "$at", at).Replace(`WITH p AS (SELECT * FROM $log),
l AS (SELECT * FROM $latest),
reached AS (SELECT l.label_of FROM l JOIN p ON l.prediction_id = p.$id::VARCHAR` + byEntity + `),
standing AS (SELECT * FROM l WHERE label IS NOT NULL OR label_text IS NOT NULL)
SELECT (SELECT count(*) FROM standing), (SELECT count(*) FROM l) - (SELECT count(*) FROM standing),
	(SELECT count(*) FROM $labels) - (SELECT count(*) FROM l),
	(SELECT count(*) FROM standing WHERE label_of NOT IN (SELECT label_of FROM reached))`)
}
