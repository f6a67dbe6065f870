package driftline

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A report of a thousand columns is a megabyte of JSON, most of it numbers, which package json writes
// and reads one method call, and one more look at every byte, at a time. AppendJSON and ReadJSON go over it
// once. What their tables say of the form is what the tags of the structs say.

// jsonField is a field of a T: its name, and where its value is.
type jsonField[T any] struct {
	name  string
	empty bool // left out if it is empty
	of    func(*T) any
}

var reportFields = []jsonField[DriftReport]{
	{"reference", false, func(r *DriftReport) any { return &r.Reference }},
	{"current", false, func(r *DriftReport) any { return &r.Current }},
	{"preset", false, func(r *DriftReport) any { return &r.Preset }},
	{"base", true, func(r *DriftReport) any { return &r.Base }},
	{"alpha", false, func(r *DriftReport) any { return &r.Alpha }},
	{"correction", false, func(r *DriftReport) any { return &r.Correction }},
	{"margin", false, func(r *DriftReport) any { return &r.Margin }},
	{"columns", false, func(r *DriftReport) any { return &r.Columns }},
	{"drifted", false, func(r *DriftReport) any { return &r.Drifted }},
	{"share", false, func(r *DriftReport) any { return &r.Share }},
	{"drift", false, func(r *DriftReport) any { return &r.Drift }},
	{"multivariate", true, func(r *DriftReport) any { return &r.Multivariate }},
}

var sideFields = []jsonField[DriftSide]{
	{"name", false, func(s *DriftSide) any { return &s.Name }},
	{"rows", false, func(s *DriftSide) any { return &s.Rows }},
}

var columnFields = []jsonField[ColumnDrift]{
	{"column", false, func(c *ColumnDrift) any { return &c.Column }},
	{"type", true, func(c *ColumnDrift) any { return (*string)(&c.Type) }},
	{"kind", false, func(c *ColumnDrift) any { return &c.Kind }},
	{"test", false, func(c *ColumnDrift) any { return &c.Test }},
	{"statistic", false, func(c *ColumnDrift) any { return &c.Statistic }},
	{"p_value", false, func(c *ColumnDrift) any { return &c.PValue }},
	{"effect", false, func(c *ColumnDrift) any { return &c.Effect }},
	{"effect_low", false, func(c *ColumnDrift) any { return &c.EffectLow }},
	{"effect_high", false, func(c *ColumnDrift) any { return &c.EffectHigh }},
	{"location", false, func(c *ColumnDrift) any { return &c.Location }},
	{"bracket", true, func(c *ColumnDrift) any { return &c.Bracket }},
	{"others", true, func(c *ColumnDrift) any { return &c.Others }},
	{"combined_p_value", false, func(c *ColumnDrift) any { return &c.CombinedPValue }},
	{"q_value", false, func(c *ColumnDrift) any { return &c.QValue }},
	{"decided_by", false, func(c *ColumnDrift) any { return &c.DecidedBy }},
	{"threshold", false, func(c *ColumnDrift) any { return &c.Threshold }},
	{"detectable", false, func(c *ColumnDrift) any { return &c.Detectable }},
	{"verdict", false, func(c *ColumnDrift) any { return (*string)(&c.Verdict) }},
	{"note", true, func(c *ColumnDrift) any { return &c.Note }},
	{"reference_rows", false, func(c *ColumnDrift) any { return &c.ReferenceRows }},
	{"current_rows", false, func(c *ColumnDrift) any { return &c.CurrentRows }},
	{"reference_nulls", false, func(c *ColumnDrift) any { return &c.ReferenceNulls }},
	{"current_nulls", false, func(c *ColumnDrift) any { return &c.CurrentNulls }},
	{"missing_p_value", false, func(c *ColumnDrift) any { return &c.MissingPValue }},
	{"missing_q_value", false, func(c *ColumnDrift) any { return &c.MissingQValue }},
	{"missing_effect", false, func(c *ColumnDrift) any { return &c.MissingEffect }},
	{"missing_verdict", true, func(c *ColumnDrift) any { return (*string)(&c.MissingVerdict) }},
	{"unseen_share", false, func(c *ColumnDrift) any { return &c.UnseenShare }},
	{"histogram", false, func(c *ColumnDrift) any { return &c.Histogram }},
}

var bracketFields = []jsonField[Bracket]{
	{"low", false, func(b *Bracket) any { return &b.Low }},
	{"high", false, func(b *Bracket) any { return &b.High }},
}

var statisticFields = []jsonField[DriftStatistic]{
	{"name", false, func(s *DriftStatistic) any { return &s.Name }},
	{"value", false, func(s *DriftStatistic) any { return &s.Value }},
	{"p_value", false, func(s *DriftStatistic) any { return &s.PValue }},
	{"effect", false, func(s *DriftStatistic) any { return &s.Effect }},
}

var histogramFields = []jsonField[Histogram]{
	{"edges", true, func(h *Histogram) any { return &h.Edges }},
	{"categories", true, func(h *Histogram) any { return &h.Categories }},
	{"reference", false, func(h *Histogram) any { return &h.Reference }},
	{"current", false, func(h *Histogram) any { return &h.Current }},
}

// AppendJSON appends what package json makes of the report, with <, > and & as they are.
func (r *DriftReport) AppendJSON(b []byte) ([]byte, error) {
	w := jsonWriter{b: b}
	writeObject(&w, r, reportFields)
	return w.b, w.err
}

// ReadJSON reads what AppendJSON writes, and all else that package json reads as a report.
func (r *DriftReport) ReadJSON(data []byte) error {
	reader, read := jsonReader{rest: string(data)}, DriftReport{}
	readObject(&reader, &read, reportFields)
	if !reader.failed && strings.Trim(reader.rest, " \t\r\n") == "" {
		*r = read
		return nil
	}
	return json.Unmarshal(data, r)
}

// jsonWriter appends JSON to b, until there is an error.
type jsonWriter struct {
	b   []byte
	err error
}

func writeObject[T any](w *jsonWriter, v *T, fields []jsonField[T]) {
	before := byte('{')
	for _, f := range fields {
		value := f.of(v)
		if f.empty && isEmpty(value) {
			continue
		}
		w.b = append(append(append(w.b, before, '"'), f.name...), `":`...)
		w.value(value)
		before = ','
	}
	w.b = append(w.b, '}')
}

func isEmpty(value any) bool {
	switch v := value.(type) {
	case *string:
		return *v == ""
	case **Bracket:
		return *v == nil
	case **MultivariateDrift:
		return *v == nil
	case *[]DriftStatistic:
		return len(*v) == 0
	case *[]float64:
		return len(*v) == 0
	case *[]string:
		return len(*v) == 0
	}
	return false
}

func (w *jsonWriter) value(value any) {
	switch v := value.(type) {
	case *string:
		w.text(*v)
	case *Number:
		w.number(float64(*v))
	case *int64:
		w.b = strconv.AppendInt(w.b, *v, 10)
	case *int:
		w.b = strconv.AppendInt(w.b, int64(*v), 10)
	case *bool:
		w.b = strconv.AppendBool(w.b, *v)
	case *DriftSide:
		writeObject(w, v, sideFields)
	case **Bracket:
		writeObject(w, *v, bracketFields)
	case *Histogram:
		writeObject(w, v, histogramFields)
	case *[]ColumnDrift:
		writeList(w, *v, func(c *ColumnDrift) { writeObject(w, c, columnFields) })
	case *[]DriftStatistic:
		writeList(w, *v, func(s *DriftStatistic) { writeObject(w, s, statisticFields) })
	case *[]int64:
		writeList(w, *v, func(n *int64) { w.value(n) })
	case *[]float64:
		writeList(w, *v, func(f *float64) { w.value(f) })
	case *float64:
		if n := Number(*v); n-n == 0 {
			w.b = appendJSON(w.b, *v)
			return
		}
		w.others(*v)
	default:
		w.others(v)
	}
}

func writeList[T any](w *jsonWriter, list []T, write func(*T)) {
	if list == nil {
		w.b = append(w.b, "null"...)
		return
	}
	w.b = append(w.b, '[')
	for i := range list {
		if i > 0 {
			w.b = append(w.b, ',')
		}
		write(&list[i])
	}
	w.b = append(w.b, ']')
}

func (w *jsonWriter) number(v float64) {
	if v-v == 0 {
		w.b = appendJSON(w.b, v)
		return
	}
	text, _ := Number(v).MarshalJSON()
	w.b = append(w.b, text...)
}

func (w *jsonWriter) text(s string) {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' {
			w.others(s)
			return
		}
	}
	w.b = append(append(append(w.b, '"'), s...), '"')
}

// others writes what is rare, or refused, as package json does.
func (w *jsonWriter) others(v any) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		w.err = err
		return
	}
	w.b = append(w.b, bytes.TrimSuffix(text.Bytes(), []byte("\n"))...)
}

// jsonReader reads JSON as it is written here, without spaces and in the order of the tables. Once
// something is not as expected it has failed, and what it reads means nothing.
type jsonReader struct {
	rest   string
	failed bool
}

func (r *jsonReader) next(text string) bool {
	if r.failed || !strings.HasPrefix(r.rest, text) {
		return false
	}
	r.rest = r.rest[len(text):]
	return true
}

func (r *jsonReader) skip(text string) { r.failed = !r.next(text) }

func readObject[T any](r *jsonReader, v *T, fields []jsonField[T]) {
	before := "{"
	for _, f := range fields {
		if key, ok := strings.CutPrefix(r.rest, before+`"`); ok && strings.HasPrefix(key, f.name) && strings.HasPrefix(key[len(f.name):], `":`) {
			r.rest = key[len(f.name)+2:]
			r.value(f.of(v))
			before = ","
		} else if !f.empty {
			r.failed = true
		}
		if r.failed {
			return
		}
	}
	r.skip("}")
}

func (r *jsonReader) value(value any) {
	switch v := value.(type) {
	case *string:
		*v = r.text()
	case *Number:
		*v = Number(r.number())
	case *float64:
		*v = r.float()
	case *int64:
		*v = r.count()
	case *int:
		*v = int(r.count())
	case *bool:
		if *v = r.next("true"); !*v {
			r.skip("false")
		}
	case *DriftSide:
		readObject(r, v, sideFields)
	case **Bracket:
		*v = new(Bracket)
		readObject(r, *v, bracketFields)
	case *Histogram:
		readObject(r, v, histogramFields)
	case *[]ColumnDrift:
		*v = readList(r, func(c *ColumnDrift) { readObject(r, c, columnFields) })
	case *[]DriftStatistic:
		*v = readList(r, func(s *DriftStatistic) { readObject(r, s, statisticFields) })
	case *[]string:
		*v = readList(r, func(s *string) { *s = r.text() })
	case *[]int64:
		*v = readList(r, func(n *int64) { *n = r.count() })
	case *[]float64:
		*v = readList(r, func(f *float64) { *f = r.float() })
	default:
		r.failed = true // package json can
	}
}

func readList[T any](r *jsonReader, read func(*T)) []T {
	if r.next("null") {
		return nil
	}
	list := []T{}
	for r.skip("["); !r.failed && !r.next("]"); {
		if len(list) > 0 {
			r.skip(",")
		}
		if len(list) == cap(list) {
			list = slices.Grow(list, max(len(list), 32)) // as many as a histogram has
		}
		list = list[:len(list)+1]
		read(&list[len(list)-1])
	}
	return list
}

// token takes the digits, signs, points and exponents that come next.
func (r *jsonReader) token() string {
	end := 0
	for end < len(r.rest) && inNumber(r.rest[end]) {
		end++
	}
	token := r.rest[:end]
	r.rest = r.rest[end:]
	digits := strings.TrimPrefix(token, "-")
	r.failed = r.failed || digits == "" || digits[0] < '0' || digits[0] > '9' || len(digits) > 1 && digits[0] == '0' && digits[1] >= '0' && digits[1] <= '9' ||
		strings.HasSuffix(digits, ".") || strings.Contains(digits, ".e")
	return token
}

func inNumber(c byte) bool {
	return c >= '0' && c <= '9' || c == '.' || c == '-' || c == '+' || c == 'e' || c == 'E'
}

func (r *jsonReader) float() float64 {
	v, err := strconv.ParseFloat(r.token(), 64)
	r.failed = r.failed || err != nil
	return v
}

func (r *jsonReader) count() int64 {
	n, err := strconv.ParseInt(r.token(), 10, 64)
	r.failed = r.failed || err != nil
	return n
}

func (r *jsonReader) number() (n Number) {
	if !strings.HasPrefix(r.rest, `"`) {
		return Number(r.float())
	}
	text := r.text()
	r.failed = r.failed || n.UnmarshalJSON([]byte(`"`+text+`"`)) != nil
	return n
}

// text takes a string without escapes.
func (r *jsonReader) text() string {
	r.skip(`"`)
	end := strings.IndexByte(r.rest, '"')
	if r.failed || end < 0 {
		r.failed = true
		return ""
	}
	text := r.rest[:end]
	r.rest = r.rest[end+1:]
	r.failed = strings.IndexByte(text, '\\') >= 0 || !utf8.ValidString(text) || strings.ContainsFunc(text, func(c rune) bool { return c < ' ' })
	return strings.Clone(text)
}
