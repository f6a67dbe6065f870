package openlineage

import (
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// base is what every facet has.
type base struct {
	Producer  string `json:"_producer"`
	SchemaURL string `json:"_schemaURL"`
}

func baseOf(version, facet string) base {
	return base{Producer: Producer, SchemaURL: facets + version + "/" + facet + ".json#/$defs/" + facet}
}

// set adds a facet. What it is made of are plain values, which always are JSON.
func (f *Facets) set(name string, facet any) {
	encoded, err := json.Marshal(facet)
	if err != nil {
		panic(err)
	}
	if *f == nil {
		*f = Facets{}
	}
	(*f)[name] = encoded
}

// Field is a column of a dataset.
type Field struct {
	Name        string `json:"name"`
	Type        string `json:"type,omitempty"`
	Description string `json:"description,omitempty"`
}

// SetSchema says which columns a dataset has.
func (d *Dataset) SetSchema(fields []Field) {
	d.Facets.set("schema", struct {
		base
		Fields []Field `json:"fields"`
	}{baseOf("1-2-0", "SchemaDatasetFacet"), fields})
}

// SetVersion says which state of a dataset is meant.
func (d *Dataset) SetVersion(version string) {
	d.Facets.set("version", struct {
		base
		Version string `json:"datasetVersion"`
	}{baseOf("1-0-1", "DatasetVersionDatasetFacet"), version})
}

// Version is the state of a dataset that is meant, "" if nothing is said of it.
func (d *Dataset) Version() string {
	var facet struct {
		Version string `json:"datasetVersion"`
	}
	if raw, ok := d.Facets["version"]; !ok || json.Unmarshal(raw, &facet) != nil {
		return ""
	}
	return facet.Version
}

// InputField is a column that another one was made from.
type InputField struct {
	Namespace       string           `json:"namespace"`
	Name            string           `json:"name"`
	Field           string           `json:"field"`
	Transformations []Transformation `json:"transformations,omitempty"`
}

// Transformation says how a column became another one: DIRECT, with IDENTITY,
// TRANSFORMATION or AGGREGATION.
type Transformation struct {
	Type    string `json:"type"`
	Subtype string `json:"subtype,omitempty"`
}

type columnInputs struct {
	InputFields []InputField `json:"inputFields"`
}

// SetColumnLineage says which columns each column of a dataset was made from.
func (d *Dataset) SetColumnLineage(columns map[string][]InputField) {
	fields := map[string]columnInputs{}
	for column, from := range columns {
		fields[column] = columnInputs{from}
	}
	d.Facets.set("columnLineage", struct {
		base
		Fields map[string]columnInputs `json:"fields"`
	}{baseOf("1-2-0", "ColumnLineageDatasetFacet"), fields})
}

// ColumnLineage is what a dataset says of its columns; nil if it says nothing that can be read.
func (d *Dataset) ColumnLineage() map[string][]InputField {
	var facet struct {
		Fields map[string]columnInputs `json:"fields"`
	}
	raw, ok := d.Facets["columnLineage"]
	if !ok || json.Unmarshal(raw, &facet) != nil || len(facet.Fields) == 0 {
		return nil
	}
	columns := map[string][]InputField{}
	for column, from := range facet.Fields {
		columns[column] = from.InputFields
	}
	return columns
}

// ColumnQuality is what is known of the values of a column.
type ColumnQuality struct {
	Nulls    int64    `json:"nullCount"`
	Count    float64  `json:"count"` // values that are not null
	Distinct *int64   `json:"distinctCount,omitempty"`
	Min      *float64 `json:"min,omitempty"`
	Max      *float64 `json:"max,omitempty"`
}

// SetQuality says what the values of a dataset are like.
func (d *Dataset) SetQuality(rows int64, columns map[string]ColumnQuality) {
	d.Facets.set("dataQualityMetrics", struct {
		base
		Rows    int64                    `json:"rowCount"`
		Columns map[string]ColumnQuality `json:"columnMetrics"`
	}{baseOf("1-0-0", "DataQualityMetricsDatasetFacet"), rows, columns})
}

// SetWritten says how much of a dataset a run wrote. Bytes and files are left out if there are none.
func (d *Dataset) SetWritten(rows, bytes, files int64) {
	d.OutputFacets.set("outputStatistics", struct {
		base
		Rows  int64 `json:"rowCount"`
		Bytes int64 `json:"size,omitempty"`
		Files int64 `json:"fileCount,omitempty"`
	}{baseOf("1-0-2", "OutputStatisticsOutputDatasetFacet"), rows, bytes, files})
}

// Rows is how many rows of a dataset a run wrote, and false if nothing is said of it.
func (d *Dataset) Rows() (int64, bool) {
	var facet struct {
		Rows *int64 `json:"rowCount"`
	}
	raw, ok := d.OutputFacets["outputStatistics"]
	if !ok || json.Unmarshal(raw, &facet) != nil || facet.Rows == nil {
		return 0, false
	}
	return *facet.Rows, true
}

// SetError says why a run failed.
func (r *Run) SetError(message string) {
	r.Facets.set("errorMessage", struct {
		base
		Message  string `json:"message"`
		Language string `json:"programmingLanguage"`
	}{baseOf("1-0-1", "ErrorMessageRunFacet"), message, "unknown"})
}

// SetType says what kind of work a job is.
func (j *Job) SetType(kind string) {
	j.Facets.set("jobType", struct {
		base
		Processing  string `json:"processingType"`
		Integration string `json:"integration"`
		Kind        string `json:"jobType"`
	}{baseOf("2-0-4", "JobTypeJobFacet"), "BATCH", "DRIFTLINE", kind})
}

// RunEvent makes an event of a run.
func RunEvent(kind EventType, at time.Time, run, namespace, job, jobType string) Event {
	e := Event{Type: kind, Time: at.UTC(), Run: &Run{ID: run}, Job: &Job{Namespace: namespace, Name: job}, Producer: Producer, SchemaURL: specification + "#/$defs/RunEvent"}
	e.Job.SetType(jobType)
	return e
}

var hex32 = regexp.MustCompile(`^[0-9a-f]{32}$`)

// space is the namespace of the UUIDs that are made of our names.
var space = [16]byte{0x5e, 0x4f, 0x1d, 0x0c, 0x6c, 0x1a, 0x4a, 0x0e, 0x9d, 0x7d, 0xd2, 0x1f, 0x71, 0x1e, 0x0a, 0x11}

// RunID is the UUID of a run: its own, if its name is one as MLflow writes them, and
// otherwise one that is always the same for the same name.
func RunID(name string) string {
	if hex32.MatchString(name) {
		return dashed(name)
	}
	h := sha1.New() // as RFC 9562 wants it for version 5
	h.Write(space[:])
	h.Write([]byte(name))
	sum := h.Sum(nil)[:16]
	sum[6] = sum[6]&0x0f | 0x50
	sum[8] = sum[8]&0x3f | 0x80
	return dashed(hex.EncodeToString(sum))
}

func dashed(digits string) string {
	return fmt.Sprintf("%s-%s-%s-%s-%s", digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])
}

// reference escapes what separates a version from a name.
var reference = strings.NewReplacer("%", "%25", "@", "%40")

// RefName is the name by which a foreign thing is known in lineage: namespace/name.
func RefName(namespace, name string) string {
	return reference.Replace(namespace) + "/" + reference.Replace(name)
}
