//go:build unix

package gateway

import (
	"errors"
	"net"
	"syscall"
)

// isAlive reports whether an idle connection may be used: the server neither closed it nor sent what nobody
// asked for, as some do before they close, which would be taken for the next request's answer.
func isAlive(c net.Conn) bool {
	system, ok := c.(syscall.Conn)
	if !ok {
		return true
	}
	raw, err := system.SyscallConn()
	if err != nil {
		return false
	}
	waits := false
	err = raw.Read(func(fd uintptr) bool {
		var one [1]byte
		_, err := syscall.Read(int(fd), one[:]) // it does not block
		waits = errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EINTR)
		return true
	})
	return err == nil && waits
}
