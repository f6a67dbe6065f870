package query

var deniedOnlyHere []uint32
