package columns

import "github.com/apache/arrow-go/v18/arrow"

// Column is a column of a table as it is now. In a file it is found by ID, whatever
// its name was when the file was written; an older file may lack it, and then its
// values are null, or hold a narrower type, and then they are widened.
type Column struct {
	ID   int // the Parquet field id; 0 if files have none, and then the name counts
	Name string
	Type arrow.DataType
}
