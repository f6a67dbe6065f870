// Package migrate copies what an MLflow server has into Driftline, over the protocol that
// both speak: experiments, runs with every point of their metrics, files, logged models,
// registered models with their versions, stages, aliases and tags.
//
// Ids of runs and logged models, numbers of versions and times are kept. What is copied is
// marked, so that a copy that was interrupted goes on where it was, and one that is begun
// again changes nothing. What came over is counted there and here, and compared.
//
//	experiments ─► runs, params, tags ─► points ─► files ─► logged models ─► models ─► versions
//	                                                     what is deleted there is deleted last ◄┘
//
// The source is read only. Its files come through its own routes; no address that it names is
// opened.
package migrate
