package web_test

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
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
	wants := map[string][]string{} // each page is opened once
	for _, page := range pages {
		wants[page.path] = append(wants[page.path], page.want)
	}
	for path, all := range wants {
		t.Run(path, func(t *testing.T) {
			address := "http://" + listener.Addr().String() + path
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
