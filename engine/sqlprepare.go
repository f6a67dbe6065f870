package engine

import (
	"context"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/driftline/driftline/query"
)

// SQLPrepare returns the schema that the SELECT's answer has, and its parameters: one
// field for each, named 1, 2, …, of the type that the query takes it as.
func (e *Engine) SQLPrepare(ctx context.Context, text string) (answer, parameters *arrow.Schema, err error) {
	described, err := e.SQLSchema(ctx, text)
	if err != nil {
		return nil, nil, err
	}
	answer, parameters = query.Parameters(described)
	return answer, parameters, nil
}
