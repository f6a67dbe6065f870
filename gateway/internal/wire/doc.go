// Package wire is what models are asked and answer, in the two protocols that the gateway
// speaks on both sides: read, checked, and written in the words of the other one.
//
// A value stays the JSON text that it came as: what is only passed on is never parsed to a
// number and printed again, so a model gets the very digits that its caller wrote.
//
//	dataframe_split, dataframe_records,  ┐              ┌ OIP: an input for each column, or one
//	instances, inputs of MLflow          ├─► Request ──►┤      matrix
//	inputs of OIP, whole or keys         ┘              └ MLflow: dataframe_split, inputs
//
// Python's servers write NaN and Infinity, which are no JSON. They are read in answers, to be
// told from rubbish, and refused in requests.
package wire
