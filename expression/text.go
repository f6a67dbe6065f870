package expression

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/driftline/driftline"
)

// textFunctions are the functions of texts. Lengths and places count characters (code
// points), from 1.
func textFunctions() map[string]function {
	return map[string]function{
		"lower":       {1, 1, (*compiler).changeCase},
		"upper":       {1, 1, (*compiler).changeCase},
		"length":      {1, 1, (*compiler).length},
		"trim":        {1, 1, part1(func(s string) string { return strings.TrimFunc(s, isSpace) })},
		"ltrim":       {1, 1, part1(func(s string) string { return strings.TrimLeftFunc(s, isSpace) })},
		"rtrim":       {1, 1, part1(func(s string) string { return strings.TrimRightFunc(s, isSpace) })},
		"substring":   {2, 3, (*compiler).substring},
		"left":        {2, 2, part2(left)},
		"right":       {2, 2, part2(right)},
		"concat":      {1, -1, (*compiler).concat},
		"starts_with": {2, 2, compareTexts(strings.HasPrefix)},
		"ends_with":   {2, 2, compareTexts(strings.HasSuffix)},
		"contains":    {2, 2, compareTexts(strings.Contains)},
		"strpos":      {2, 2, (*compiler).position},
	}
}

// isSpace is what trim takes away: spaces of any script, but no tabs or line ends.
func isSpace(r rune) bool { return unicode.Is(unicode.Zs, r) }

// texts checks that all arguments are texts.
func (c *compiler) texts(name string, of []value) ([]value, error) {
	out := make([]value, len(of))
	for i, v := range of {
		var err error
		if out[i], err = c.argument(name, v, driftline.String); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (c *compiler) changeCase(s *syntax, of []value) (value, error) {
	all, err := c.texts(s.text, of)
	if err != nil {
		return value{}, err
	}
	change := unicode.ToLower
	if s.text == "upper" {
		change = toUpper
	}
	run := text1(c, all[0].run.(operation[string]), func(b []byte, text string) ([]byte, state) {
		for _, r := range text {
			b = utf8.AppendRune(b, change(r))
		}
		return b, present
	})
	return value{kind: driftline.String, sql: called(s.text, all...), run: run}, nil
}

func (c *compiler) length(s *syntax, of []value) (value, error) {
	all, err := c.texts(s.text, of)
	if err != nil {
		return value{}, err
	}
	run := map1(c, all[0].run.(operation[string]), func(text string) (int64, state) { return int64(utf8.RuneCountInString(text)), present })
	return value{kind: driftline.Int64, sql: called(s.text, all...), run: run}, nil
}

// part1 is a function that gives a part of a text, which is not copied.
func part1(cut func(string) string) func(*compiler, *syntax, []value) (value, error) {
	return func(c *compiler, s *syntax, of []value) (value, error) {
		all, err := c.texts(s.text, of)
		if err != nil {
			return value{}, err
		}
		run := map1(c, all[0].run.(operation[string]), func(text string) (string, state) { return cut(text), present })
		return value{kind: driftline.String, sql: called(s.text, all...), run: run}, nil
	}
}

// part2 is such a function with a number of characters.
func part2(cut func(string, int64) (string, state)) func(*compiler, *syntax, []value) (value, error) {
	return func(c *compiler, s *syntax, of []value) (value, error) {
		text, err := c.argument(s.text, of[0], driftline.String)
		if err != nil {
			return text, err
		}
		count, err := c.argument(s.text, of[1], driftline.Int64)
		if err != nil {
			return count, err
		}
		run := map2(c, text.run.(operation[string]), count.run.(operation[int64]), cut)
		return value{kind: driftline.String, sql: called(s.text, text, count), run: run}, nil
	}
}

// left is the first n characters, or all but the last -n.
func left(text string, n int64) (string, state) {
	if n > mostCharacters {
		return "", overflow
	}
	length := int64(utf8.RuneCountInString(text))
	if n < 0 {
		n = max(length+n, 0)
	}
	return characters(text, 0, min(n, length)), present
}

// right is the last n characters, or all but the first -n.
func right(text string, n int64) (string, state) {
	length := int64(utf8.RuneCountInString(text))
	if n < 0 {
		n = max(length+n, 0)
	}
	return characters(text, length-min(n, length), length), present
}

// characters returns those from one place to before another, counted from 0.
func characters(text string, from, to int64) string {
	first, at := len(text), int64(0)
	for i := range text {
		if at == to {
			return text[min(first, i):i]
		}
		if at == from {
			first = i
		}
		at++
	}
	return text[first:]
}

func (c *compiler) substring(s *syntax, of []value) (value, error) {
	text, err := c.argument(s.text, of[0], driftline.String)
	if err != nil {
		return text, err
	}
	all := []value{text}
	for _, v := range of[1:] {
		n, err := c.argument(s.text, v, driftline.Int64)
		if err != nil {
			return n, err
		}
		all = append(all, n)
	}
	out := value{kind: driftline.String, sql: called(s.text, all...)}
	run, from := text.run.(operation[string]), all[1].run.(operation[int64])
	if len(all) == 2 {
		out.run = map2(c, run, from, func(text string, from int64) (string, state) { return substring(text, from, mostCharacters) })
		return out, nil
	}
	out.run = map3(c, run, from, all[2].run.(operation[int64]), substring)
	return out, nil
}

// mostCharacters bounds how many characters left and substring may be asked for, as in
// DuckDB.
const mostCharacters = 1<<32 - 1

// substring is so many characters from one on, the first of which is number 1. What
// DuckDB does with other numbers depends on the characters, so they fail here.
func substring(text string, from, length int64) (string, state) {
	if from < 1 || length < 0 || length > mostCharacters {
		return "", badPlace
	}
	size := int64(utf8.RuneCountInString(text))
	start := min(from-1, size)
	return characters(text, start, min(start+length, size)), present
}

// concatenate is a || b, which is null if one of them is.
func (c *compiler) concatenate(s *syntax, of []value) (value, error) {
	all, err := c.texts("||", of)
	if err != nil {
		return value{}, err
	}
	a, b, memory := all[0].run.(operation[string]), all[1].run.(operation[string]), slot[string](c)
	run := operation[string](func(f *frame) vector[string] {
		x, y, b := a(f), b(f), memory(f)
		out := b.begin(f)
		for i := range out {
			if s := max(x.state(i), y.state(i)); s != present {
				b.mark(i, s)
				continue
			}
			before := len(b.text)
			b.text = append(append(b.text, x.values[i]...), y.values[i]...)
			out[i] = textFrom(b.text, before)
		}
		return b.done(f)
	})
	return value{kind: driftline.String, sql: "(" + all[0].sql + " || " + all[1].sql + ")", run: run}, nil
}

// concat is all texts that are not null, one after the other.
func (c *compiler) concat(s *syntax, of []value) (value, error) {
	all, err := c.texts(s.text, of)
	if err != nil {
		return value{}, err
	}
	operands, memory, vectors := operations[string](run(all)), slot[string](c), slotOfVectors[string](c, len(all))
	joined := operation[string](func(f *frame) vector[string] {
		b, from := memory(f), vectors(f)
		for i, o := range operands {
			from[i] = o(f)
		}
		out := b.begin(f)
		for row := range out {
			before := len(b.text)
			for i := range from {
				switch s := from[i].state(row); {
				case s.failed():
					b.mark(row, s)
				case s == present:
					b.text = append(b.text, from[i].values[row]...)
				}
			}
			out[row] = textFrom(b.text, before)
		}
		return b.done(f)
	})
	return value{kind: driftline.String, sql: called(s.text, all...), run: joined}, nil
}

func compareTexts(is func(a, b string) bool) func(*compiler, *syntax, []value) (value, error) {
	return func(c *compiler, s *syntax, of []value) (value, error) {
		all, err := c.texts(s.text, of)
		if err != nil {
			return value{}, err
		}
		run := map2(c, all[0].run.(operation[string]), all[1].run.(operation[string]), func(x, y string) (bool, state) { return is(x, y), present })
		return value{kind: driftline.Bool, sql: called(s.text, all...), run: run}, nil
	}
}

// position is the place of one text in another, and 0 if it is not there.
func (c *compiler) position(s *syntax, of []value) (value, error) {
	all, err := c.texts(s.text, of)
	if err != nil {
		return value{}, err
	}
	run := map2(c, all[0].run.(operation[string]), all[1].run.(operation[string]), func(text, part string) (int64, state) {
		at := strings.Index(text, part)
		if at < 0 {
			return 0, present
		}
		return int64(utf8.RuneCountInString(text[:at])) + 1, present
	})
	return value{kind: driftline.Int64, sql: called(s.text, all...), run: run}, nil
}

// like checks LIKE, in whose pattern % stands for any text and _ for one character.
func (c *compiler) like(s *syntax, of []value) (value, error) {
	all, err := c.texts("LIKE", of[:2])
	if err != nil {
		return value{}, err
	}
	sql := "(" + all[0].sql + negated(s.not) + " LIKE " + all[1].sql
	escape := byte(0)
	if len(of) == 3 {
		if escape, err = c.escape(of[1], of[2]); err != nil {
			return value{}, err
		}
		sql += " ESCAPE " + of[2].sql
	}
	run := map2(c, all[0].run.(operation[string]), all[1].run.(operation[string]), func(text, pattern string) (bool, state) {
		return matches(text, pattern, escape) != s.not, present
	})
	return value{kind: driftline.Bool, sql: sql + ")", run: run}, nil
}

// escape reads the character that takes its meaning from the next one of a literal pattern.
func (c *compiler) escape(pattern, v value) (byte, error) {
	if v.text == nil || len(*v.text) != 1 {
		return 0, c.failf(v.at, "ESCAPE wants one character").WithHint(`write for example ESCAPE '\'`)
	}
	escape := (*v.text)[0]
	if pattern.text == nil || endsOpen(*pattern.text, escape) {
		return 0, c.failf(pattern.at, "a pattern with ESCAPE is a literal, and does not end with it").WithHint("put an escape before %%, _ and itself where the text has them")
	}
	return escape, nil
}

// matches reports whether a text is like a pattern. It takes time in proportion to the
// product of the two at most: it goes back to the last % only, which may take more of the
// text.
func matches(text, pattern string, escape byte) bool {
	t, p := 0, 0
	afterAny, resume := -1, 0
	for t < len(text) || p < len(pattern) {
		switch {
		case p < len(pattern) && pattern[p] == '%' && escape != '%':
			p++
			afterAny, resume = p, t
			continue
		case p < len(pattern) && t < len(text):
			if nextT, nextP, same := matchOne(text, pattern, t, p, escape); same {
				t, p = nextT, nextP
				continue
			}
		}
		if afterAny < 0 || resume >= len(text) {
			return false
		}
		_, size := utf8.DecodeRuneInString(text[resume:])
		resume += size
		t, p = resume, afterAny
	}
	return true
}

// matchOne compares a character of the text with one of the pattern.
func matchOne(text, pattern string, t, p int, escape byte) (nextT, nextP int, same bool) {
	switch {
	case escape != 0 && pattern[p] == escape:
		p++
	case pattern[p] == '_':
		_, size := utf8.DecodeRuneInString(text[t:])
		return t + size, p + 1, true
	}
	return t + 1, p + 1, text[t] == pattern[p]
}

func endsOpen(pattern string, escape byte) bool {
	for i := 0; i < len(pattern); i++ {
		if pattern[i] != escape {
			continue
		}
		if i++; i == len(pattern) {
			return true
		}
	}
	return false
}

// toUpper is the upper case of one character. DuckDB knows the capital ß, and is of Go's
// opinion for all others.
func toUpper(r rune) rune {
	if r == 'ß' {
		return 'ẞ'
	}
	return unicode.ToUpper(r)
}
