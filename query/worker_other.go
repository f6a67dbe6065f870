//go:build !linux

package query

import (
	"syscall"
	"time"
)

func onThread(f func())                                         { go f() }
func procAttr() *syscall.SysProcAttr                            { return nil }
func confineThread([]string, string) string                     { return "no Landlock" }
func limitProcess(pid int, memoryBytes, cpuSeconds int64) error { return nil }
func yieldProcessors(pid int)                                   {}
func yieldToOnline(pid int)                                     {}
func processorTime(pid int) time.Duration                       { return 0 }
func usedCPU() (seconds int64)                                  { return 0 }
func filterSystemCalls() string                                 { return "no seccomp" }
