// Package report turns the outcomes of comparisons and checks into what people and
// their tools read, so that every door of Driftline says the same of the same outcome.
//
// One outcome has several forms, each complete in itself:
//
//	         for                        made by
//	HTML     a person, mailed or kept   DriftHTML, ValidationHTML
//	Markdown a pull request, a chat     DriftMarkdown, ValidationMarkdown
//	JUnit    a CI server                DriftJUnit, ValidationJUnit
//	Arrow    a program, a table         DriftRows, ValidationRows
//
// A page is one file that needs nothing else: no network, fonts or scripts from
// elsewhere. It reads without JavaScript; with it, tables sort and filter. Light or
// dark is the reader's choice.
//
// What a report holds may come from anywhere. Names and values are escaped for the
// form that they are written in, and a histogram that makes no sense is left out.
// Nothing is written if a report cannot be rendered.
package report
