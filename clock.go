package driftline

import "time"

// ClockReading is what a server's clock says.
type ClockReading struct {
	Now    time.Time `json:"now"`
	Replay bool      `json:"replay"` // it stands still until somebody moves it
}

// ClockMove moves the clock of a server that goes through the past.
type ClockMove struct {
	To time.Time `json:"to"` // not before the clock's time
}
