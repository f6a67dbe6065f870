// Package publicaddr says which addresses are those of public hosts: one list for all that
// connect to where a user said, which is how servers are made to reach what only they can.
package publicaddr

import "net/netip"

// reserved are addresses that are not those of public hosts, or that stand for others,
// besides what package netip knows of.
var reserved = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),       // this network
	netip.MustParsePrefix("100.64.0.0/10"),   // behind a carrier's NAT
	netip.MustParsePrefix("192.0.0.0/24"),    // protocol assignments
	netip.MustParsePrefix("192.0.2.0/24"),    // documentation
	netip.MustParsePrefix("198.18.0.0/15"),   // benchmarks
	netip.MustParsePrefix("198.51.100.0/24"), // documentation
	netip.MustParsePrefix("203.0.113.0/24"),  // documentation
	netip.MustParsePrefix("240.0.0.0/4"),     // not assigned, and broadcast
	netip.MustParsePrefix("64:ff9b::/96"),    // IPv4 inside, NAT64
	netip.MustParsePrefix("64:ff9b:1::/48"),  // likewise, local
	netip.MustParsePrefix("2001::/32"),       // IPv4 inside, Teredo
	netip.MustParsePrefix("2001:db8::/32"),   // documentation
	netip.MustParsePrefix("2002::/16"),       // IPv4 inside, 6to4
	netip.MustParsePrefix("fec0::/10"),       // site local
	netip.MustParsePrefix("::/96"),           // IPv4 inside, deprecated
}

// Is reports whether an address is that of a public host.
func Is(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if !a.IsGlobalUnicast() || a.IsPrivate() {
		return false
	}
	for _, p := range reserved {
		if p.Contains(a) {
			return false
		}
	}
	return true
}
