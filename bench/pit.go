package main

import (
	"context"
	"errors"
)

// pitSuite follows.
func pitSuite(context.Context, *bench) error { return errors.New("not there yet") }
