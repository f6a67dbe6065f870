package web_test

import (
	"html"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// shelve registers five models, of one to three versions.
func (s *site) shelve(t testing.TB) {
	t.Helper()
	s.stock(t)
	s.mustAsk(t, "POST", "/api/v1/runs", `{"experiment": "shelf"}`)
	s.mustAsk(t, "PUT", "/api/v1/runs/shelf-1/artifacts/model.bin", "weights")
	for name, versions := range map[string]int{"bees": 2, "Ants": 3, "cats": 1} {
		for range versions {
			s.mustAsk(t, "POST", "/api/v1/models/"+name+"/versions", `{"run": "shelf-1", "artifact": "model.bin"}`)
		}
	}
	s.mustAsk(t, "PUT", "/api/v1/models/bees/aliases/champion", `{"version": 1}`)
}

var shelved = regexp.MustCompile(`<td><a href="/models/[^"]*">([^<]*)</a></td>`)

func TestListsAreSortedAndFiltered(t *testing.T) {
	s := newSite(t)
	s.shelve(t)
	for _, test := range []struct{ query, want string }{
		{"?sort=model", "Ants bees cats"},
		{"?sort=model&order=desc", "cats bees Ants"},
		{"?sort=version", "Ants bees cats"},
		{"?sort=version&order=asc", "cats bees Ants"},
		{"?sort=version&order=asc&filter=S+a", "cats bees Ants"}, // bees by its alias
		{"?sort=model&filter=ANT", "Ants"},
		{"?filter=champion", "bees"},
		{"?filter=champion+cats", ""},
		{"?filter=%25", ""},
		{"?sort=model&filter=+", "Ants bees cats"},
	} {
		var names []string
		for _, found := range shelved.FindAllStringSubmatch(s.mustAsk(t, "GET", "/models"+test.query, "", "Accept: text/html"), -1) {
			names = append(names, found[1])
		}
		if got := strings.Join(names, " "); got != test.want {
			t.Errorf("/models%s lists %q, want %q", test.query, got, test.want)
		}
	}
}

var sortLink = regexp.MustCompile(`<th[^>]*><a href="([^"]*)">Model( [↑↓])?</a></th>`)

// TestAHeadSortsTurnsAndLetsGo follows the link of a head: what else the address says stays.
func TestAHeadSortsTurnsAndLetsGo(t *testing.T) {
	s := newSite(t)
	s.shelve(t)
	at := "/models?filter=s&other=%3Cb%3E"
	var arrows []string
	for range 4 {
		found := sortLink.FindStringSubmatch(s.mustAsk(t, "GET", at, "", "Accept: text/html"))
		if found == nil {
			t.Fatalf("%s has no link that sorts by model", at)
		}
		if at = html.UnescapeString(found[1]); !strings.Contains(at, "filter=s") || !strings.Contains(at, "other=%3Cb%3E") {
			t.Errorf("a head leads to %s, which has lost what else was asked for", at)
		}
		arrows = append(arrows, strings.TrimSpace(found[2]))
	}
	if want := []string{"", "↑", "↓", ""}; !slices.Equal(arrows, want) {
		t.Errorf("a head that is followed shows %q, want %q", arrows, want)
	}
}

func TestListsRefuseWhatTheyCannotDo(t *testing.T) {
	s := newSite(t)
	s.stock(t)
	s.train(t)
	for _, path := range []string{"/", "/datasets", "/models", "/policies", "/training-runs", "/rollouts", "/monitors", "/alerts", "/validations"} {
		for query, want := range map[string]string{
			"?sort=%3Cb%3Ebold":                         `there is no column &#34;&lt;b&gt;bold&#34; to sort by`,
			"?sort=segment":                             "sort by one of: ",
			"?order=sideways":                           "is neither asc nor desc",
			"?filter=" + strings.Repeat("%C3%A4", 201):  "longer than 200 characters",
			"?sort=" + strings.Repeat("long", 100):      "there is no column",
			"?filter=" + strings.Repeat("%F0%9F", 1000): "longer than 200 characters",
		} {
			answer := s.ask("GET", path+query, "", "Accept: text/html")
			status, body := answer.Code, answer.Body.String()
			if status != 400 || !strings.Contains(body, want) {
				t.Errorf("%s%.60s answers %d without %q:\n%s", path, query, status, want, body)
			}
		}
		if body := s.mustAsk(t, "GET", path+"?filter="+strings.Repeat("%C3%A4", 200), "", "Accept: text/html"); strings.Contains(body, "<table class=") && path != "/" {
			t.Errorf("%s lists something that has 200 umlauts", path)
		}
	}
}
