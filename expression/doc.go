// Package expression computes features from features: a subset of the scalar expressions
// of DuckDB's SQL, over the columns of a record batch.
//
// There is one evaluator for training and for serving, so that the two cannot disagree.
// Its meaning is DuckDB's, and [Expression.SQL] is the text that DuckDB gives the same
// values for: bit by bit, but for the functions that no machine computes exactly (ln, exp,
// sin, …), which may differ in the last two bits. A test in package query compares the two.
//
// # A row that fails
//
// A number may overflow, a text may not be a number. Such a row has no value, and neither
// does its training set end nor do other rows of an online request suffer: it is null, and
// the [Result] names it and says why. DuckDB ends the query, or gives null under TRY. In a
// branch of CASE that is not taken, behind a value of coalesce that is not null, and beside
// what decides an AND or OR, nothing fails.
//
// # How it runs
//
//	text ─► tokens ─► tree ─► checked, with types ─► operations ─► columns
//
// An operation is a function that computes a vector for up to 1,024 rows. Vectors live in
// a frame, which is kept for the next evaluation: nothing is allocated per row, and little
// per call. Nobody's code runs but the operations here.
package expression
