// Package outbound connects to hosts that users name, so that nobody reaches through the server
// what only the server may reach; under the rooms that send webhooks.
package outbound

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"syscall"

	"github.com/driftline/driftline/internal/publicaddr"
)

// Client connects to public addresses only, unless private ones are allowed, and follows no
// redirect. Each request resolves, and checks, for itself.
func Client(allowPrivate bool) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext:       Dialer(allowPrivate).DialContext,
			DisableKeepAlives: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// ErrPrivate is why an address is not connected to.
var ErrPrivate = errors.New("the host has an address of this machine or of a private network, which may not be reached")

// Dialer checks the very address that it connects to, after the one resolution that the
// dial makes: a name that is resolved to something else a moment later gains nothing.
func Dialer(allowPrivate bool) *net.Dialer {
	return &net.Dialer{Control: func(_, address string, _ syscall.RawConn) error {
		to, err := netip.ParseAddrPort(address)
		if err != nil {
			return ErrPrivate
		}
		if !allowPrivate && !publicaddr.Is(to.Addr()) {
			return ErrPrivate
		}
		return nil
	}}
}
