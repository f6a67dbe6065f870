// Package filter reads and evaluates the filters and orders with which runs, experiments
// and models are searched: MLflow's language, and more of it.
//
//	filter     := term { OR term }
//	term       := factor { AND factor }
//	factor     := NOT factor | "(" filter ")" | comparison
//	comparison := field operator value | field IN "(" text { "," text } ")" | field IS [NOT] NULL
//	field      := [ entity "." ] key
//	operator   := "=" | "!=" | "<" | "<=" | ">" | ">=" | [NOT] LIKE | [NOT] ILIKE | [NOT] RLIKE | NOT IN
//
// MLflow has AND only. The rest (OR, NOT, brackets, RLIKE, numbers for params and tags, and
// lists for every text) is ours, and means nothing else there: it is refused.
//
// A key is written bare, or in `backticks` or "double quotes" if it has other characters. A
// text value is in 'single' or "double" quotes, in which the quote is written twice.
//
// # What a comparison means
//
//   - A text operator compares the text, with case; ILIKE without. In a pattern % stands
//     for any characters and _ for one.
//   - A number compares numbers. A param or a tag that is no number is not compared, and so
//     is not matched.
//   - What a row does not have is matched by IS NULL only: `tags.a != 'x'` wants the tag.
//     NOT is plain negation, so `NOT tags.a = 'x'` is true without it.
//   - NaN equals nothing and differs from everything.
//   - A dataset field is matched if any of the row's datasets does.
//
// # Orders
//
// `metrics.loss DESC`. Numbers come first, then NaN, then what is missing, in both
// directions; texts by their bytes.
//
// The package is pure: it knows rows by the [Row] interface only, and what may be asked of
// a kind of row by its [Grammar].
package filter
