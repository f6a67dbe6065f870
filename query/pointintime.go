package query

import (
	"errors"
	"slices"
	"strings"

	"github.com/driftline/driftline"
)

// PointInTime is a point-in-time join inside of a SELECT:
//
//	FROM point_in_time(
//	    (SELECT airport, time AS event_timestamp, late FROM …),
//	    features => ['weather:temp', 'weather:temp@1h'],    or feature_service => 'delay_model'
//	    known_at => true)
//
// Its answer is a table like any other: it can be joined, filtered and grouped.
type PointInTime struct {
	Table   TableName // under which the SELECT reads the answer
	Spine   *Select
	Request driftline.HistoricalRequest
}

const (
	pointInTime = "point_in_time"

	// maxJoins bounds the work of one text.
	maxJoins = 8

	pointInTimeUsage = "write point_in_time((SELECT …), features => ['view:feature', 'view:feature@1h', …]), or feature_service => 'name'; " +
		"further arguments are event_timestamp => 'column', known_at, strict and full_feature_names => true"
)

// join is a point-in-time join whose spine is not parsed yet.
type join struct {
	PointInTime
	spine    map[string]any // a statement
	features bool           // whether they are given one by one
}

// pointInTime takes a point-in-time join out of the tree, and puts a table there.
func (w *walker) pointInTime(node, function map[string]any) error {
	switch {
	case w.nested:
		return driftline.Errorf(driftline.Permission, "point_in_time inside the SELECT of another one is not allowed here").
			WithHint("save the inner one as a dataset, and select from that")
	case len(w.joins) == maxJoins:
		return driftline.Errorf(driftline.Permission, "a SELECT may have at most %d point_in_time", maxJoins)
	}
	arguments, _ := function["children"].([]any)
	var j join
	for i, a := range arguments {
		argument, _ := a.(map[string]any)
		if err := j.argument(i, argument); err != nil {
			return err
		}
	}
	set := j.Request.FeatureSet
	switch {
	case j.spine == nil:
		return misused("the SELECT that names the entities and times is missing")
	case !j.features && set.Service == "":
		return misused("it is not said which features are wanted")
	case j.features && set.Service != "":
		return misused("features and feature_service are given, want one of them")
	}
	j.Table = TableName{Schema: joinSchema, Name: string(rune('a' + len(w.joins)))}
	w.joins = append(w.joins, j)

	alias := textOf(node["alias"])
	if alias == "" {
		alias = pointInTime
	}
	kept := []string{"sample", "query_location", "column_name_alias"}
	for key := range node {
		if !slices.Contains(kept, key) {
			delete(node, key)
		}
	}
	node["type"], node["alias"], node["at_clause"] = "BASE_TABLE", alias, nil
	node["catalog_name"], node["schema_name"], node["table_name"] = "", j.Table.Schema, j.Table.Name
	return nil
}

func misused(what string) error {
	return driftline.Errorf(driftline.Invalid, "point_in_time: %s", what).WithHint(pointInTimeUsage)
}

// argument reads the i-th argument.
func (j *join) argument(i int, node map[string]any) error {
	name := strings.ToLower(textOf(node["alias"]))
	if name == "" && i == 0 || name == "spine" {
		subquery, ok := node["subquery"].(map[string]any)
		if !ok || node["class"] != "SUBQUERY" || node["subquery_type"] != "SCALAR" {
			return misused("its first argument is not a SELECT in brackets")
		}
		j.spine = subquery
		return nil
	}
	var ok bool
	switch name {
	case "features":
		var texts []string
		if texts, ok = literalList(node); ok {
			return j.takeFeatures(texts)
		}
	case "feature_service":
		var service string
		service, ok = literalText(node)
		j.Request.Service = driftline.ServiceName(service)
	case "event_timestamp":
		j.Request.EventTimestamp, ok = literalText(node)
	case "known_at":
		j.Request.KnownAt, ok = literalBool(node)
	case "strict":
		j.Request.Strict, ok = literalBool(node)
	case "full_feature_names":
		j.Request.FullFeatureNames, ok = literalBool(node)
	case "":
		return misused("only its first argument, the SELECT, has no name")
	default:
		known := []string{"features", "feature_service", "event_timestamp", "known_at", "strict", "full_feature_names"}
		if near := driftline.Nearest(name, known); near != "" {
			return driftline.Errorf(driftline.Invalid, "point_in_time: argument %q is not known", name).WithHint("did you mean %q?", near)
		}
		return misused("argument \"" + name + "\" is not known")
	}
	if !ok {
		return misused("the value of " + name + " is not a literal of the right type")
	}
	return nil
}

// takeFeatures reads the features that are given one by one.
func (j *join) takeFeatures(texts []string) error {
	for _, text := range texts {
		if role, feature, found := strings.Cut(text, "="); found {
			return driftline.Errorf(driftline.Invalid, "point_in_time: feature %q has a role", text).
				WithHint("declare a feature service whose projection of %q has the role %q and its join keys, and write feature_service => 'name'; "+
					"or select that key AS the view's join key, and join twice", feature, role)
		}
	}
	set, err := driftline.ParseFeatures(texts)
	j.Request.Features, j.Request.Projections, j.features = set.Features, set.Projections, true
	return err
}

func literalText(node any) (string, bool) {
	value, ok := literalValue(node)
	text, isText := value.(string)
	return text, ok && isText && text != ""
}

// literalBool reads true and false, which the parser writes as casts of text.
func literalBool(node any) (value, ok bool) {
	v, found := literalValue(node)
	switch {
	case !found:
		return false, false
	case v == true || v == "t" || v == "true":
		return true, true
	}
	return false, v == false || v == "f" || v == "false"
}

// literalList reads a list of texts.
func literalList(expression any) ([]string, bool) {
	node, _ := expression.(map[string]any)
	if node["class"] != "FUNCTION" || textOf(node["function_name"]) != "list_value" {
		return nil, false
	}
	children, _ := node["children"].([]any)
	var list []string
	for _, c := range children {
		text, ok := literalText(c)
		if !ok {
			return nil, false
		}
		list = append(list, text)
	}
	return list, len(list) > 0
}

// aboutSpine says where in the user's text a failure is.
func aboutSpine(err error) error {
	var e *driftline.Error
	if !errors.As(err, &e) {
		return err
	}
	about := *e
	about.Message = "the SELECT of point_in_time: " + e.Message
	return &about
}
