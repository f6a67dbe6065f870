package web_test

import (
	"bytes"
	"context"
	"fmt"
	"html"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/driftline/driftline"
)

// TestPagesInABrowser opens every page in a real browser: a page must render and
// must not make the browser complain (a blocked style, a missing file).
func TestPagesInABrowser(t *testing.T) {
	browser := findBrowser(t)
	s := newSite(t)
	s.stock(t)
	s.train(t)
	s.watch(t)
	s.guard(t)
	s.browse(t, browser, slices.Concat(stockedPages, watchedPages, guardedPages, measuredPages))
}

// TestTheLoopInABrowser is TestPagesInABrowser for the pages of a model that went through
// everything.
func TestTheLoopInABrowser(t *testing.T) {
	browser := findBrowser(t)
	l := newWholeLoop(t)
	l.answer(t)
	l.browse(t, browser, slices.Concat(loopPages, policyPages))
}

// TestAnAlertLeadsToItsRowsInABrowser follows the links from page to page, as a reader does: from the
// alert to the column that drifted, to its segment, to a bin, to the rows that are in all of these.
func TestAnAlertLeadsToItsRowsInABrowser(t *testing.T) {
	browser := findBrowser(t)
	s := newSite(t)
	s.watch(t)
	host := s.listen(t)
	page, complaints := open(t, browser, host+"/alerts/wind_hourly-1")
	for _, link := range []string{
		`<a href="([^"]+)"[^>]*><code>speed</code></a>`,
		`<a href="([^"]+)"[^>]*><code>&lt;b&gt;bold&lt;/b&gt;=true</code></a>`,
		`(?s)<table class="bins">.*<td><a href="([^"]+)"`, // the last bin
	} {
		found := regexp.MustCompile(link).FindStringSubmatch(page)
		if found == nil {
			t.Fatalf("the page has no link %s:\n%s", link, page)
		}
		var more []string
		page, more = open(t, browser, host+html.UnescapeString(found[1]))
		complaints = append(complaints, more...)
	}
	for _, line := range complaints {
		t.Errorf("the browser says: %s", line)
	}
	_, rows, ok := strings.Cut(page, `<table class="list rows">`)
	if !ok {
		t.Fatalf("there are no rows at the end:\n%s", page)
	}
	names := cells(rows, "th")
	speed, sky, at := slices.Index(names, "speed"), slices.Index(names, "sky"), slices.Index(names, "event_timestamp")
	if speed < 0 || sky < 0 || at < 0 {
		t.Fatalf("the rows have columns %q", names)
	}
	values := cells(rows, "td")
	if len(values) == 0 || len(values)%len(names) != 0 {
		t.Fatalf("%d cells of %d columns", len(values), len(names))
	}
	for row := range slices.Chunk(values, len(names)) {
		v, err := strconv.ParseFloat(row[speed], 64)
		if err != nil || v < 100 || row[sky] != "clear" || !strings.HasPrefix(row[at], "2013-01-31 15:") {
			t.Errorf("row %q is not of the pane, the segment and the last bin", row)
		}
	}
}

// cells returns what the cells of a kind hold in the table that a page begins with.
func cells(page, kind string) (all []string) {
	page, _, _ = strings.Cut(page, "</table>")
	for _, found := range regexp.MustCompile(`(?s)<`+kind+`[^>]*>(.*?)</`+kind+`>`).FindAllStringSubmatch(page, -1) {
		all = append(all, html.UnescapeString(found[1]))
	}
	return all
}

func findBrowser(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			return found
		}
	}
	t.Skip("there is no chromium to open pages with")
	return ""
}

// browse opens pages. With DRIFTLINE_SCREENSHOTS, a folder, it keeps pictures of them there, as
// wide as a desktop and as a phone, light and dark, for people to look at.
func (s *site) browse(t *testing.T, browser string, pages []struct{ path, want string }) {
	t.Helper()
	host := s.listen(t)
	wants := map[string][]string{} // each page is opened once
	for _, page := range pages {
		wants[page.path] = append(wants[page.path], page.want)
	}
	for path, all := range wants {
		t.Run(path, func(t *testing.T) {
			address := host + path
			dom, complaints := open(t, browser, address)
			for _, want := range all {
				if !strings.Contains(dom, want) {
					t.Errorf("the page does not show %q:\n%s", want, dom)
				}
			}
			for _, line := range complaints {
				t.Errorf("the browser says: %s", line)
			}
			if folder := os.Getenv("DRIFTLINE_SCREENSHOTS"); folder != "" {
				photograph(t, browser, address, filepath.Join(folder, strings.Trim(unfit.ReplaceAllString(path, "_"), "_")))
			}
		})
	}
}

// listen has the site answer browsers until the test ends, and returns where.
func (s *site) listen(t *testing.T) (host string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.server.Serve(listener) }()
	t.Cleanup(func() {
		if err := s.server.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return "http://" + listener.Addr().String()
}

// open returns the page's DOM once loaded, and what the browser's console said.
func open(t *testing.T, browser, address string) (dom string, complaints []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
		"--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--enable-logging=stderr", "--log-level=0", "--user-data-dir="+t.TempDir(), "--dump-dom", address)
	command.WaitDelay = time.Second
	var out, log bytes.Buffer
	command.Stdout, command.Stderr = &out, &log
	if err := command.Run(); err != nil {
		t.Fatalf("%v: %s", err, log.String())
	}
	for line := range strings.Lines(log.String()) {
		if strings.Contains(line, ":CONSOLE") {
			complaints = append(complaints, strings.TrimSpace(line))
		}
	}
	return out.String(), complaints
}

// unfit is what a file's name had better not have.
var unfit = regexp.MustCompile(`[^A-Za-z0-9]+`)

func photograph(t *testing.T, browser, address, name string) {
	t.Helper()
	for suffix, flags := range map[string][]string{
		"-desktop": {"--window-size=1280,1800"}, "-phone": {"--window-size=500,1800"},
		"-desktop-dark": {"--window-size=1280,1800", "--blink-settings=preferredColorScheme=0"},
	} {
		command := exec.Command(browser, append(flags, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
			"--user-data-dir="+t.TempDir(), "--screenshot="+name+suffix+".png", address)...)
		if out, err := command.CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", name, err, out)
		}
	}
}

// Ten thousand runs and five thousand columns are a table as others are: a page of it, in a browser, with the
// columns that were asked for, sorted over all runs.
func TestTenThousandRunsInABrowser(t *testing.T) {
	browser := findBrowser(t)
	const runs, columns, each = 10_000, 5_000, 10
	s := newSite(t)
	reg := s.Engine.Registry()
	var writers sync.WaitGroup
	for writer := range 16 {
		writers.Go(func() {
			for i := writer; i < runs; i += 16 {
				run, err := reg.CreateRun(driftline.RunSpec{Experiment: "wide", ID: driftline.RunID(fmt.Sprintf("wide-%05d", i)), Params: map[string]string{"number": strconv.Itoa(i)}})
				if err != nil {
					t.Error(err)
					return
				}
				points := []driftline.Metric{{Key: "auc", Value: driftline.Number(i) / runs}}
				for k := range each {
					points = append(points, driftline.Metric{Key: fmt.Sprintf("layer_%04d", (i*each+k)%columns), Value: driftline.Number(i)})
				}
				if _, err := reg.LogRun(run.ID, driftline.RunLog{Metrics: points}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	writers.Wait()
	if t.Failed() {
		return
	}
	pages := []struct{ path, want string }{
		{"/runs?experiment=wide&sort=metrics.auc", `<a href="/runs/wide-09999">wide-09999</a>`},
		{"/runs?experiment=wide&sort=metrics.auc&page=200&order=desc", `<a href="/runs/wide-00000">wide-00000</a>`},
		{"/runs?experiment=wide&column=metrics.layer_4999&sort=metrics.layer_4999", `<a href="/runs/wide-09999">wide-09999</a>`},
		{"/runs?experiment=wide&filter=params.number+%3D+4321", `<a href="/runs/wide-04321">wide-04321</a>`},
		{"/runs?experiment=wide", `more are not listed`},
		{"/runs/compare?run=wide-00001&run=wide-00501&find=layer_0010", `layer_0010`},
	}
	s.browse(t, browser, pages)
	for _, page := range pages {
		if body := s.mustAsk(t, "GET", page.path, "", "Accept: text/html"); len(body) > 400_000 || strings.Count(body, `name="run"`) > 50 {
			t.Errorf("%s has %d bytes and %d runs", page.path, len(body), strings.Count(body, `name="run"`))
		}
	}
}
