//go:build !linux

package query

func escapeIfAsked() {}
