package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"runtime/debug"
	"slices"
	"strconv"
	"time"

	"github.com/driftline/driftline"
)

// gatewayParts measure predictions by way of the gateway. Callers, server and model server
// share the machine.
var gatewayParts = []part{
	{name: "requests", does: "predictions with 50 features looked up and logged, beside asking the model server itself and a bare reverse proxy",
		run: func(ctx context.Context, b *bench) error {
			return gatewayRequests(ctx, b, gatewayWorkload{rows: 1}, gatewayWorkload{rows: 8})
		}},
	{name: "joined", does: "the same, of one row, with requests joined for the model server", run: func(ctx context.Context, b *bench) error {
		return gatewayRequests(ctx, b, gatewayWorkload{rows: 1, maxBatch: 32})
	}},
	{name: "hang", does: "a candidate of 50 % hangs: what the champion's requests wait, beside the same without a candidate", run: gatewayHang},
	{name: "mirror", does: "a shadow hangs and its mirror is full: what the champion's requests wait, beside the same without a shadow", run: gatewayMirror},
	{name: "bake", does: "a champion turns worse after its promotion: from the verdict until the one before it answers", run: gatewayBake},
}

// Goals of the issue "The loop closes". Those of what candidates do are in gateway_faults.go.
const (
	gatewayRate  = 8_000 // predictions/s
	gatewayAdded = 2     // ms of the p99 that the gateway adds
)

// Commands that make the bench's own binary a model server, and a proxy before one.
const (
	modelCommand = "__model"
	proxyCommand = "__proxy"
)

const (
	gatewayModel    = driftline.ModelName("bench")
	gatewayFeatures = 50
	gatewayPairs    = 3
)

// gatewayPaces are requests/s at which latencies are compared.
var gatewayPaces = []int{300, 2000}

// gatewayWorkload is requests of so many rows, of which as many as maxBatch says are joined for
// the model server.
type gatewayWorkload struct{ rows, maxBatch int }

func (w gatewayWorkload) name() string {
	name := fmt.Sprintf("%d rows × %d features", w.rows, gatewayFeatures)
	if w.rows == 1 {
		name = fmt.Sprintf("1 row × %d features", gatewayFeatures)
	}
	if w.maxBatch > 0 {
		name += fmt.Sprintf(", joined up to %d", w.maxBatch)
	}
	return name
}

func gatewayRequests(ctx context.Context, b *bench, workloads ...gatewayWorkload) (err error) {
	s, entities, err := b.servedOnline(ctx)
	if err != nil {
		return err
	}
	model, stopModel, err := b.startSelf(ctx, "", modelCommand)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stopModel()) }()
	proxy, stopProxy, err := b.startSelf(ctx, model, proxyCommand)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stopProxy()) }()
	for _, w := range workloads {
		if err := serveModelAt(ctx, s, model, w.maxBatch); err != nil {
			return err
		}
		if err := b.compareGateway(ctx, w, s, entities, model, proxy); err != nil {
			return fmt.Errorf("%s: %w", w.name(), err)
		}
	}
	return nil
}

// serveModelAt registers a model of which the features are looked up, and says where it is.
func serveModelAt(ctx context.Context, s *server, at string, maxBatch int) error {
	version, err := s.client.RegisterModel(ctx, driftline.ModelSpec{Model: gatewayModel, Source: "s3://bench/model"})
	if err != nil {
		return err
	}
	number := strconv.Itoa(version.Version)
	if _, err := s.client.SetModelServer(ctx, gatewayModel, number, driftline.ModelServerChange{Server: &driftline.ModelServer{
		URL: at, Tensor: "x", MaxBatch: maxBatch, Features: &driftline.FeatureSet{Features: byFeatures(gatewayFeatures).Features}}}); err != nil {
		return err
	}
	_, err = s.client.MoveAlias(ctx, gatewayModel, driftline.AliasChampion, driftline.AliasMove{Version: version.Version})
	return err
}

// compareGateway asks three ways for the same predictions: the model server, with the features in
// the request; the same by way of a reverse proxy; and the gateway, with the keys.
func (b *bench) compareGateway(ctx context.Context, w gatewayWorkload, s *server, entities int, model, proxy string) error {
	direct, through, err := w.loads(ctx, s, entities)
	if err != nil {
		return err
	}
	path := "/v2/models/" + string(gatewayModel) + "/infer"
	through.url, direct.url = s.url+path, model+path
	proxied := direct
	proxied.url = proxy + path
	if err := samePredictions(ctx, direct, through); err != nil {
		return err
	}
	for _, pace := range gatewayPaces {
		if err := b.paceGateway(ctx, w, pace, direct, through, proxied); err != nil {
			return err
		}
	}
	return b.saturateGateway(ctx, w, s, direct, through, proxied)
}

// bareProxy is the floor: what it costs to pass a request on with Go's own HTTP server and client.
const bareProxy = "httputil.ReverseProxy, no look-up, no log"

// paceGateway measures what the gateway and the proxy add to the latency of the model server.
func (b *bench) paceGateway(ctx context.Context, w gatewayWorkload, pace int, direct, through, proxied onlineLoad) error {
	percentiles := []int{50, 99}
	var ours, proxys [2][]float64
	for range min(b.pairs(), gatewayPairs) {
		var of [3]loadResult
		for i, load := range []onlineLoad{direct, through, proxied} {
			var err error
			if of[i], err = load.at(pace, true).runPlain(ctx); err != nil {
				return err
			}
		}
		for i, p := range percentiles {
			alone, ourself, proxy := of[0].percentile(p), of[1].percentile(p), of[2].percentile(p)
			ours[i], proxys[i] = append(ours[i], ourself-alone), append(proxys[i], proxy-alone)
			b.progress("%s at %d requests/s: p%d %.3f ms of the model server, %.3f by way of the gateway, %.3f of the proxy", w.name(), pace, p, alone, ourself, proxy)
		}
	}
	for i, p := range percentiles {
		name := fmt.Sprintf("%s, %d/s paced, p%d that is added", w.name(), pace, p)
		if p == 99 {
			b.keepLimit(workload{name: name, unit: "ms"}, ours[i], gatewayAdded)
		}
		b.keep(summarize(workload{name: name, unit: "ms", uncompared: true}, bareProxy, ours[i], proxys[i]))
	}
	return nil
}

// modelAlone is the ceiling: callers and model server with nothing between them.
const modelAlone = "the model server itself, the features in the request"

func (b *bench) saturateGateway(ctx context.Context, w gatewayWorkload, s *server, direct, through, proxied onlineLoad) error {
	saturated := pick(b, 50, 40_000/w.rows)
	var ours, theirs, alone []float64
	for range min(b.pairs(), gatewayPairs) {
		for _, side := range []struct {
			load   onlineLoad
			values *[]float64
		}{{through, &ours}, {proxied, &theirs}, {direct, &alone}} {
			load := side.load
			load.connections, load.bodies = 2*pacedConnections, nil
			for i := range saturated {
				load.bodies = append(load.bodies, side.load.bodies[i%len(side.load.bodies)])
			}
			cpu, started := s.usage().cpu, time.Now()
			if _, err := load.runPlain(ctx); err != nil {
				return err
			}
			*side.values = append(*side.values, float64(w.rows*saturated)/time.Since(started).Seconds())
			b.progress("%s: %.0f predictions/s, %.0f µs of the server's CPU a request", load.url, (*side.values)[len(*side.values)-1],
				float64((s.usage().cpu-cpu).Microseconds())/float64(saturated))
		}
	}
	b.keepLimit(workload{name: w.name() + ", saturation", unit: "predictions/s"}, ours, gatewayRate)
	b.keep(summarize(workload{name: w.name() + ", saturation", unit: "predictions/s", uncompared: true}, bareProxy, ours, theirs))
	b.keep(summarize(workload{name: w.name() + ", saturation", unit: "predictions/s", uncompared: true}, modelAlone, ours, alone))
	return nil
}

// loads makes the requests: with keys, and with the values that the server has for them.
func (w gatewayWorkload) loads(ctx context.Context, s *server, entities int) (direct, through onlineLoad, err error) {
	asked := onlineWorkload{entities: w.rows, features: gatewayFeatures, requests: pick(s.b, 20, slices.Max(gatewayPaces)*pacedSeconds)}.load(s.url, entities, byFeatures)
	known, err := asked.run(ctx, true)
	if err != nil {
		return direct, through, err
	}
	for i, text := range known.answers {
		var question onlineQuestion
		var answer struct {
			Results []struct {
				Values []json.Number `json:"values"`
			} `json:"results"`
		}
		if err := errors.Join(json.Unmarshal(asked.bodies[i], &question), json.Unmarshal(text, &answer)); err != nil {
			return direct, through, err
		}
		body, err := json.Marshal(map[string]any{"entities": question.Entities})
		if err != nil {
			return direct, through, err
		}
		through.bodies = append(through.bodies, body)
		data := []byte{}
		for row := range w.rows {
			for _, column := range answer.Results[1:] {
				data = append(append(data, column.Values[row]...), ',')
			}
		}
		direct.bodies = append(direct.bodies, fmt.Appendf(nil, `{"id":"0","inputs":[{"name":"x","shape":[%d,%d],"datatype":"FP64","data":[%s]}]}`,
			w.rows, gatewayFeatures, data[:len(data)-1]))
	}
	return direct, through, nil
}

// samePredictions fails if the gateway answers something else than the model server.
func samePredictions(ctx context.Context, direct, through onlineLoad) error {
	direct.connections, through.connections = 1, 1
	want, err := direct.run(ctx, true)
	if err != nil {
		return err
	}
	got, err := through.run(ctx, true)
	if err != nil {
		return err
	}
	for i := range want.answers {
		a, errA := outputsIn(want.answers[i])
		b, errB := outputsIn(got.answers[i])
		if err := errors.Join(errA, errB); err != nil {
			return err
		}
		if !slices.Equal(a, b) || len(a) == 0 {
			return fmt.Errorf("request %d: the model says %v, the gateway %v", i, a, b)
		}
	}
	return nil
}

func outputsIn(body []byte) ([]float64, error) {
	var answer struct{ Outputs []struct{ Data []float64 } }
	if err := json.Unmarshal(body, &answer); err != nil || len(answer.Outputs) != 1 {
		return nil, fmt.Errorf("%.200s: %w", body, err)
	}
	return answer.Outputs[0].Data, nil
}

// serveModel answers the Open Inference Protocol with the sum of each row: about as little as a
// model can do, so that what is measured is the way to it. It reads of a request what it needs and without reflection, as the
// model servers that are written in C++ do, because it shares the processors with the others.
func serveModel(_ io.Reader, out io.Writer) error {
	return serveSelf(out, http.HandlerFunc(answerSums))
}

func answerSums(w http.ResponseWriter, r *http.Request) {
	request, err := readWhole(r)
	shape, data := numbersIn(request, `"shape":[`), numbersIn(request, `"data":[`)
	if err != nil || len(shape) != 2 || int(shape[0])*int(shape[1]) != len(data) {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	rows, width := int(shape[0]), int(shape[1])
	body := fmt.Appendf(nil, `{"model_name":"bench","outputs":[{"name":"sum","shape":[%d],"datatype":"FP64","data":[`, rows)
	for row := range rows {
		sum := 0.0
		for _, x := range data[row*width : (row+1)*width] {
			sum += x
		}
		if row > 0 {
			body = append(body, ',')
		}
		body = strconv.AppendFloat(body, sum, 'g', -1, 64)
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(body, "]}]}"...))
}

// readWhole reads a body of a known size.
func readWhole(r *http.Request) ([]byte, error) {
	body := make([]byte, max(0, r.ContentLength))
	_, err := io.ReadFull(r.Body, body)
	return body, err
}

// numbersIn reads the list of numbers that follows a name in a body, nil if there is none.
func numbersIn(body []byte, name string) []float64 {
	_, list, found := bytes.Cut(body, []byte(name))
	list, _, closed := bytes.Cut(list, []byte("]"))
	if !found || !closed {
		return nil
	}
	numbers := make([]float64, 0, bytes.Count(list, []byte(","))+1)
	for text := range bytes.SplitSeq(list, []byte(",")) {
		x, err := strconv.ParseFloat(string(bytes.TrimSpace(text)), 64)
		if err != nil {
			return nil
		}
		numbers = append(numbers, x)
	}
	return numbers
}

// serveProxy forwards to what it reads from in.
func serveProxy(in io.Reader, out io.Writer) error {
	text, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	to, err := url.Parse(string(text))
	if err != nil {
		return err
	}
	proxy := httputil.NewSingleHostReverseProxy(to)
	proxy.Transport = &http.Transport{MaxIdleConnsPerHost: 1000, DisableCompression: true}
	return serveSelf(out, proxy)
}

func serveSelf(out io.Writer, handler http.Handler) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(out, "http://%s\n", l.Addr()); err != nil {
		return err
	}
	// They stand for servers that have no collector, or proxies of a little memory more: by Go's own rule a heap of next
	// to nothing is collected many times a second, on the processors that all share.
	const percent = 1600
	debug.SetGCPercent(percent)
	server := http.Server{ReadHeaderTimeout: time.Minute, Handler: handler}
	return server.Serve(l)
}
