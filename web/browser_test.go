package web_test

import (
	"bytes"
	"context"
	"net"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestPagesInABrowser opens every page in a real browser: a page must render and
// must not make the browser complain (a blocked style, a missing file).
func TestPagesInABrowser(t *testing.T) {
	browser := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			browser = found
			break
		}
	}
	if browser == "" {
		t.Skip("there is no chromium to open pages with")
	}
	s := newSite(t)
	s.stock(t)
	s.train(t)
	s.watch(t)
	s.guard(t)
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
	for _, page := range slices.Concat(stockedPages, watchedPages, guardedPages, measuredPages) {
		t.Run(page.path, func(t *testing.T) {
			dom, complaints := open(t, browser, "http://"+listener.Addr().String()+page.path)
			if !strings.Contains(dom, page.want) {
				t.Errorf("the page does not show %q:\n%s", page.want, dom)
			}
			for _, line := range complaints {
				t.Errorf("the browser says: %s", line)
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
