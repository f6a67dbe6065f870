package web

import "testing"

// Templates are read when they are first shown, so a test has to see that all can be.
func TestEveryPageCanBeRead(t *testing.T) {
	read := loadPages().templates
	for name, template := range read {
		if template().Lookup("layout.html") == nil {
			t.Errorf("page %q has no layout", name)
		}
	}
	if len(read) == 0 {
		t.Error("there are no pages")
	}
}
