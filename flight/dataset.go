package flight

import (
	"context"

	"github.com/driftline/driftline"
)

// readDataset finds the rows of a dataset that a command asks for: all, one part, or
// all made again.
func (s *service) readDataset(ctx context.Context, command readCommand) (driftline.Batches, error) {
	dataset := driftline.DatasetName(command.Name)
	switch {
	case command.Split != "":
		return s.engine.ReadPart(ctx, dataset, command.Version, command.Split)
	case command.Rebuild:
		return s.engine.Rebuilt(ctx, dataset, command.Version)
	}
	return s.engine.ReadDataset(ctx, dataset, command.Version)
}

// datasetTable describes what readDataset reads.
func (s *service) datasetTable(ctx context.Context, command readCommand) (table, error) {
	dataset, err := s.engine.Registry().Dataset(driftline.DatasetName(command.Name), command.Version)
	if err != nil {
		return table{}, err
	}
	rows, err := s.readDataset(ctx, command)
	if err != nil {
		return table{}, err
	}
	found := table{schema: rows.Schema, rows: dataset.Report.Rows, version: dataset.Version}
	if command.Split != "" {
		for _, part := range dataset.Request.Split.Parts {
			if part.Name == command.Split {
				found.rows = part.Rows
			}
		}
	}
	return found, nil
}
