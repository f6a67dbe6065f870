package engine

import (
	"cmp"
	"math"
	"strings"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/drift/profile"
)

// profileRows is meta.profiles: a row for each pane that is kept.
func profileRows(e *Engine, add func(...any)) error {
	return e.eachProfilePane(func(record keptPane) error {
		add(record.Source, record.Start, record.End, record.Rows, int64(record.Columns), record.Bytes, record.Created, tableName(record.Table))
		return nil
	})
}

func tableName(table driftline.DriftSource) any {
	switch {
	case table.SQL != "":
		return table.SQL
	case table.Ref != (driftline.Ref{}):
		return table.Ref.String()
	}
	return nil
}

func (e *Engine) eachProfilePane(visit func(keptPane) error) error {
	sources, err := e.profileSourceNames()
	if err != nil {
		return err
	}
	for _, source := range sources {
		records, err := e.profilePanes(driftline.ProfileWindow{Source: source})
		if err != nil {
			return err
		}
		for _, record := range records {
			if err := visit(record); err != nil {
				return err
			}
		}
	}
	return nil
}

// profileColumnRows is meta.profile_columns: a row for each column of each pane, from the
// heads of their profiles alone.
func profileColumnRows(e *Engine, add func(...any)) error {
	maps := map[mapName]*profile.Map{}
	return e.eachProfilePane(func(record keptPane) error {
		known := make(map[string]columnRecord, len(record.Profiled))
		for _, c := range record.Profiled {
			known[c.Name] = c
		}
		return e.readHeads(record.Source, spanOf(record.Start, record.End), func(name string, head []byte) error {
			of := known[name]
			key := mapName{record.Source, name, of.Fingerprint}
			if maps[key] == nil {
				m, err := e.profileMap(record.Source, name, of.Fingerprint)
				if err != nil {
					return err
				}
				maps[key] = m
			}
			o, err := profile.DecodeOutline(maps[key], head)
			if err != nil {
				return damagedProfile(record.Source, err)
			}
			addProfileColumn(add, record, of, o)
			return nil
		})
	})
}

type mapName struct {
	source, column string
	fingerprint    uint64
}

// addProfileColumn adds a column of a pane. What a column of its kind does not have is null.
func addProfileColumn(add func(...any), record keptPane, of columnRecord, o *profile.Outline) {
	negative, positive := o.Infinite()
	least, greatest := o.Range()
	median := o.Quantile(0.5)
	frequent, most := mostFrequent(o)
	var name, rows any
	if most > 0 {
		name, rows = frequent, most
	}
	add(record.Source, record.Start, record.End, of.Name, string(of.Type), of.Kind, o.Rows(), o.Nulls(), o.NaN(), negative, positive,
		finiteOrNull(least), finiteOrNull(greatest), finiteOrNull(o.Mean()), finiteOrNull(o.StdDev()),
		numberOrNull(median.Low), numberOrNull(median.High), name, rows)
}

func finiteOrNull(v float64) any {
	if v-v != 0 {
		return nil
	}
	return v
}

func numberOrNull(v float64) any {
	if math.IsNaN(v) {
		return nil
	}
	return v
}

// mostFrequent is the category with the most rows; 0 rows if the head has not all of them.
func mostFrequent(o *profile.Outline) (name string, rows int64) {
	for candidate, n := range o.Categories() {
		if cmp.Or(cmp.Compare(n, rows), strings.Compare(name, candidate)) > 0 {
			name, rows = candidate, n
		}
	}
	return shown(name), rows
}
