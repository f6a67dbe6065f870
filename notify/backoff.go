package notify

import (
	"hash/fnv"
	"strconv"
	"time"
)

// GiveUp is how long after it was decided a notice is no longer tried.
const GiveUp = 72 * time.Hour

const (
	firstWait = time.Second
	mostWait  = 15 * time.Minute
)

// Backoff returns how long to wait after a notice's failed attempt of that number (from 1):
// twice as long each time, up to a quarter of an hour, and less by up to half, so that
// notices that failed together are not tried together. It is a function of its arguments.
func Backoff(id string, attempt int) time.Duration {
	wait := mostWait
	if shift := attempt - 1; shift < 10 {
		wait = min(mostWait, firstWait<<max(0, shift))
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(id + "#" + strconv.Itoa(attempt))) // never fails
	part := float64(h.Sum64()>>11) / (1 << 53)
	return wait - time.Duration(part*float64(wait)/2)
}
