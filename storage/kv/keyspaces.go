package kv

// The first byte of a key says which room owns it and how the rest reads. Every
// prefix is listed here, so that no two rooms can take the same one.
//
//	prefix  owner           holds
//	0x00    kv              the number of the newest commit
//	'L'     storage/online  layouts of packed rows
//	'T'     engine          training of models: states of policies, runs, causes, suppressions
//	'V'     engine          evaluations of candidates
//	'a'     registry        index of artifacts
//	'b'     engine          rows held back: written offline only and not online yet
//	'c'     engine          counters, such as the next write sequence
//	'd'     registry        column statistics of datasets
//	'e'     engine          erasures under way
//	'f'     storage/online  how far back the rows of a view are complete
//	'g'     registry        ledger lines
//	'h'     storage/online  history: more rows of an entity than the newest
//	'i'     engine          ingest log: acknowledged rows that are not in a file yet
//	'j'     engine          layouts of the ingest log's rows
//	'k'     engine          idempotency keys and their answers
//	'm'     registry        metric points of runs
//	'n'     engine          intents: effects decided and not yet done
//	'o'     storage/online  newest row per entity and view
//	'p'     engine          profiles of columns
//	'q'     engine          rollouts: their states, and what waits to be rolled out
//	'r'     engine          results of monitors that are not in a file yet
//	't'     storage/online  tiles: summaries of spans of the history
//	'u'     engine          uploads in parts
//	'v'     engine          what checking registered sets of checks found
//	'w'     engine          panes of monitors, as they were evaluated
//	'x'     engine          outbox: notices of alerts
//	'y'     engine          checksums of the pieces of artifacts
//	'z'     engine          materializations
const (
	internal byte = 0x00

	OnlineLayouts     byte = 'L'
	Evaluations       byte = 'V'
	ArtifactIndex     byte = 'a'
	HeldRows          byte = 'b'
	Counters          byte = 'c'
	DatasetStatistics byte = 'd'
	Erasures          byte = 'e'
	OnlineFloors      byte = 'f'
	Ledger            byte = 'g'
	HistoryRows       byte = 'h'
	IngestLog         byte = 'i'
	LogLayouts        byte = 'j'
	IdempotencyKeys   byte = 'k'
	MetricPoints      byte = 'm'
	Intents           byte = 'n'
	OnlineRows        byte = 'o'
	Profiles          byte = 'p'
	HistoryTiles      byte = 't'
	DriftResults      byte = 'r'
	ValidationRuns    byte = 'v'
	MonitorPanes      byte = 'w'
	Outbox            byte = 'x'
	Rollouts          byte = 'q'
	Materializations  byte = 'z'
	Uploads           byte = 'u'
	ContentPieces     byte = 'y'
	ModelTraining     byte = 'T'
)

// commitKey holds the number of the newest commit: 8 bytes, big-endian.
var commitKey = []byte{internal, 'c'}
