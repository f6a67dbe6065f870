package web

import (
	"encoding/base64"
	"math"
	"strconv"
	"sync"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/driftline/driftline"
	"github.com/driftline/driftline/engine"
)

// buffers keeps answers of the common size from being allocated anew.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 16<<10); return &b }}

const maxRetainedBuffer = 1 << 20

func recycle(b *[]byte) {
	if cap(*b) <= maxRetainedBuffer {
		buffers.Put(b)
	}
}

// appendOnline appends Feast's answer: one list of values per name.
//
//	{"metadata": {"feature_names": ["airport", "temp"]},
//	 "results": [{"values": ["JFK"], "statuses": ["PRESENT"], "event_timestamps": ["1970-01-01T00:00:00Z"]},
//	             {"values": [39.02], "statuses": ["PRESENT"], "event_timestamps": ["2013-01-31T15:00:00Z"]}],
//	 "status": true}
func appendOnline(dst []byte, answer *engine.OnlineAnswer) []byte {
	entities, features := answer.Entities.Schema(), answer.Plan.Features
	dst = append(dst, `{"metadata":{"feature_names":[`...)
	for i := range entities.NumFields() {
		dst = appendString(comma(dst, i), entities.Field(i).Name)
	}
	for i := range features {
		dst = appendString(comma(dst, entities.NumFields()+i), features[i].Name)
	}
	dst = append(dst, `]},"results":[`...)
	for i := range entities.NumFields() {
		dst = appendEntity(comma(dst, i), answer.Entities.Column(i))
	}
	times := timeWriter{}
	for i := range features {
		dst = appendFeature(comma(dst, entities.NumFields()+i), answer, i, &times)
	}
	return append(dst, `],"status":true}`...)
}

// appendEntity appends an entity column. It has no statuses of its own: it is present,
// since the beginning of time.
func appendEntity(dst []byte, values arrow.Array) []byte {
	dst = append(dst, `{"values":[`...)
	for i := range values.Len() {
		dst = appendCell(comma(dst, i), values, i)
	}
	dst = append(dst, `],"statuses":[`...)
	for i := range values.Len() {
		dst = append(comma(dst, i), `"PRESENT"`...)
	}
	dst = append(dst, `],"event_timestamps":[`...)
	for i := range values.Len() {
		dst = append(comma(dst, i), `"1970-01-01T00:00:00Z"`...)
	}
	return append(dst, `]}`...)
}

func appendFeature(dst []byte, answer *engine.OnlineAnswer, feature int, times *timeWriter) []byte {
	rows := answer.Rows()
	dst = append(dst, `{"values":[`...)
	for row := range rows {
		dst = appendValueOf(comma(dst, row), answer, feature, row)
	}
	dst = append(dst, `],"statuses":[`...)
	for row := range rows {
		dst = append(comma(dst, row), '"')
		dst = append(append(dst, answer.Status(feature, row)...), '"')
	}
	dst = append(dst, `],"event_timestamps":[`...)
	for row := range rows {
		dst = times.append(comma(dst, row), answer.EventTime(feature, row))
	}
	return append(dst, `]}`...)
}

// appendValueOf appends one value as [appendCell] does.
func appendValueOf(dst []byte, answer *engine.OnlineAnswer, feature, row int) []byte {
	values := answer.Values()
	if values.IsNull(feature, row) {
		return append(dst, "null"...)
	}
	if nested := answer.Nested(feature); nested != nil {
		return appendCell(dst, nested, row)
	}
	switch word := values.Word(feature, row); answer.Plan.Features[feature].Type {
	case driftline.Bool:
		return strconv.AppendBool(dst, word != 0)
	case driftline.Float32, driftline.Float64:
		return appendFloat(dst, math.Float64frombits(word))
	case driftline.Timestamp:
		return strconv.AppendInt(dst, floorDiv(int64(word), int64(time.Second/time.Microsecond)), 10)
	case driftline.String:
		return appendString(dst, values.Text(feature, row))
	case driftline.Bytes:
		dst = base64.StdEncoding.AppendEncode(append(dst, '"'), values.Text(feature, row))
		return append(dst, '"')
	default:
		return strconv.AppendInt(dst, int64(word), 10)
	}
}

func comma(dst []byte, i int) []byte {
	if i == 0 {
		return dst
	}
	return append(dst, ',')
}

// timeWriter appends times. Those of the features of a row are the same, so it copies the
// one before if it can.
type timeWriter struct {
	last       arrow.Timestamp
	start, end int // of last in what was appended to
}

func (w *timeWriter) append(dst []byte, t arrow.Timestamp) []byte {
	if w.end > 0 && t == w.last {
		return append(dst, dst[w.start:w.end]...)
	}
	w.last, w.start = t, len(dst)
	dst = appendTime(dst, t)
	w.end = len(dst)
	return dst
}

// appendTime appends a time as protobuf writes it: 0, 3 or 6 digits of fraction.
func appendTime(dst []byte, t arrow.Timestamp) []byte {
	form := "2006-01-02T15:04:05.000000Z"
	switch {
	case t%1_000_000 == 0:
		form = time.RFC3339 // the one that package time is quick at
	case t%1_000 == 0:
		form = "2006-01-02T15:04:05.000Z"
	}
	dst = time.UnixMicro(int64(t)).UTC().AppendFormat(append(dst, '"'), form)
	return append(dst, '"')
}
