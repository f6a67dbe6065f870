package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/rivo/uniseg"
)

// table prints aligned columns. Numbers go to the right.
type table struct {
	header []string
	right  []bool
	rows   [][]string
}

func newTable(header ...string) *table {
	t := &table{right: make([]bool, len(header))}
	for i, name := range header {
		name, t.right[i] = strings.CutPrefix(name, ">") // ">rows" is a column of numbers
		t.header = append(t.header, name)
	}
	return t
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

func (t *table) widths() []int {
	widths := make([]int, len(t.header))
	for i, name := range t.header {
		widths[i] = uniseg.StringWidth(name)
	}
	for _, row := range t.rows {
		for i, cell := range row {
			widths[i] = max(widths[i], uniseg.StringWidth(cell))
		}
	}
	return widths
}

func (t *table) print(w io.Writer) error {
	widths, paint := t.widths(), painter(w)
	if err := t.printRow(w, t.header, widths, func(s string) string { return paint(dim, s) }); err != nil {
		return err
	}
	for _, row := range t.rows {
		if err := t.printRow(w, row, widths, nil); err != nil {
			return err
		}
	}
	return nil
}

func (t *table) printRow(w io.Writer, cells []string, widths []int, paint func(string) string) error {
	var line strings.Builder
	for i, cell := range cells {
		space := strings.Repeat(" ", max(0, widths[i]-uniseg.StringWidth(cell)))
		if i > 0 {
			line.WriteString("  ")
		}
		if t.right[i] {
			line.WriteString(space + cell)
		} else {
			line.WriteString(cell + space)
		}
	}
	text := strings.TrimRight(line.String(), " ")
	if paint != nil {
		text = paint(text)
	}
	_, err := fmt.Fprintln(w, text)
	return err
}

// The ANSI styles used.
const (
	bold  = "1"
	dim   = "2"
	red   = "31"
	green = "32"
	amber = "33"
)

// painter colours text if w is a terminal, and does nothing otherwise.
func painter(w io.Writer) func(style, text string) string {
	if !isTerminal(w) {
		return func(_, text string) string { return text }
	}
	return func(style, text string) string { return "\x1b[" + style + "m" + text + "\x1b[0m" }
}

// printable keeps a cell on its line and its control characters out of the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case r < ' ' || r >= 0x7f && r < 0xa0:
			return '�'
		}
		return r
	}, s)
}
