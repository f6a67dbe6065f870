// Command driftline is the whole product in one binary: the server, and every
// tool that talks to one.
//
// It is the only place that reads flags, environment variables and settings
// files. A setting is looked for in this order, the first one found wins:
//
//	flag            --http 127.0.0.1:8816
//	environment     DRIFTLINE_HTTP=127.0.0.1:8816
//	settings file   driftline.yaml in the working directory, or --config FILE
//	default
//
// Answers go to stdout, everything else to stderr. Exit codes: 0 done, 1 failed,
// 2 used wrongly, 3 from driftline drift if drift was found.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/driftline/driftline/query"
)

func main() {
	query.WorkerMain() // does not return in the processes in which the server runs SELECTs
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	go func() {
		<-ctx.Done()
		time.Sleep(time.Second) // who signals a process and its group, as timeout(1) does, means it once
		stop()                  // the second signal ends the process at once
	}()
	a := &app{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, environ: os.Environ}
	os.Exit(a.run(ctx, os.Args[1:]))
}
