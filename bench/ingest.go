package main

import (
	"context"
	"errors"
)

// ingestSuite follows.
func ingestSuite(context.Context, *bench) error { return errors.New("not there yet") }
