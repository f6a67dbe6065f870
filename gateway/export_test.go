package gateway

import (
	"context"
	"net/netip"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/gateway/internal/wire"
	"github.com/driftline/driftline/routing"
)

// Average asks several versions and returns the average as MLflow's predictions, or the fault.
func (g *Gateway) Average(model driftline.ModelName, body string, shares ...driftline.VersionShare) (string, driftline.Fault, error) {
	request, err := wire.ParseMLflow(body)
	if err != nil {
		return "", "", err
	}
	c := &call{model: model, request: request, id: newID(time.Now()), time: time.Now()}
	o, _, err := g.answer(context.Background(), c, routing.Decision{Version: shares[0].Version, Versions: shares})
	if err != nil || o.fault != "" {
		return o.why, o.fault, err
	}
	return string(o.answer.AppendPredictions(nil)), "", nil
}

// MayReach reports whether the gateway connects to an address.
func MayReach(address string, allowed ...string) bool {
	networks := make([]netip.Prefix, len(allowed))
	for i, text := range allowed {
		networks[i] = netip.MustParsePrefix(text)
	}
	return mayReach(netip.MustParseAddr(address), networks)
}
