package gateway

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/gateway/internal/wire"
)

// Headers of requests and answers.
const (
	KeyHeader        = "X-Driftline-Key"  // what the request is dealt by
	VersionHeader    = "X-Model-Version"  // asked for, and of what answered
	ArmHeader        = "X-Arm"            // that answered
	PredictionHeader = "X-Prediction-Id"  // chosen by the caller, or made; labels come by it
	FallbackHeader   = "X-Fallback-Fault" // of the candidate, in whose place the champion answered
)

// Endpoint is a route of the gateway, for a server to mount behind its gates.
type Endpoint struct {
	Method, Path string
	Handle       func(w http.ResponseWriter, r *http.Request) error
	Body         int64         // the largest body read; 0 for none
	Allow        time.Duration // for reading the request and writing the answer
}

// Endpoints are all routes.
func (g *Gateway) Endpoints() []Endpoint {
	const quick = time.Minute
	long := quick + 2*driftline.MostModelTimeout // of a candidate and the champion in its place
	return []Endpoint{
		{"GET", "/v2", g.getServer, 0, quick},
		{"GET", "/v2/health/live", g.getLive, 0, quick},
		{"GET", "/v2/health/ready", g.getReady, 0, quick},
		{"GET", "/v2/models/{model}", g.getModel, 0, quick},
		{"GET", "/v2/models/{model}/ready", g.getModelReady, 0, quick},
		{"GET", "/v2/models/{model}/versions/{version}", g.getModel, 0, quick},
		{"GET", "/v2/models/{model}/versions/{version}/ready", g.getModelReady, 0, quick},
		{"POST", "/v2/models/{model}/infer", g.postInfer, MaxBody, long},
		{"POST", "/v2/models/{model}/versions/{version}/infer", g.postInfer, MaxBody, long},
		{"GET", "/models/{model}/ping", g.getPing, 0, quick},
		{"GET", "/models/{model}/health", g.getPing, 0, quick},
		{"GET", "/models/{model}/version", g.getVersion, 0, quick},
		{"POST", "/models/{model}/invocations", g.postInvocations, MaxBody, long},
		{"POST", "/models/{model}/versions/{version}/invocations", g.postInvocations, MaxBody, long},
	}
}

// Owns reports whether what fails at a path is to be answered in the words of a protocol of ours.
func Owns(path string) bool {
	return path == "/v2" || strings.HasPrefix(path, "/v2/") || strings.HasPrefix(path, "/models/") && strings.HasSuffix(path, "/invocations")
}

// WriteError answers with a failure in the words of the path's protocol.
func WriteError(w http.ResponseWriter, r *http.Request, shown *driftline.Error, status int) {
	text := shown.Message
	if shown.Hint != "" {
		text += " (" + shown.Hint + ")"
	}
	if strings.HasSuffix(r.URL.Path, "/invocations") {
		writeJSON(w, status, map[string]string{"error_code": mlflowCode(status), "message": text})
		return
	}
	writeJSON(w, status, map[string]string{"error": text})
}

// mlflowCode is the word of MLflow for a status.
func mlflowCode(status int) string {
	switch status {
	case http.StatusNotFound:
		return "RESOURCE_DOES_NOT_EXIST"
	case http.StatusTooManyRequests:
		return "RESOURCE_EXHAUSTED"
	case http.StatusServiceUnavailable, http.StatusBadGateway:
		return "TEMPORARILY_UNAVAILABLE"
	case http.StatusInternalServerError:
		return "INTERNAL_ERROR"
	}
	return "BAD_REQUEST"
}

func writeJSON(w http.ResponseWriter, status int, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"error":"internal error"}`)
	}
	send(w, status, body)
}

func send(w http.ResponseWriter, status int, body []byte) {
	head := w.Header()
	head["Content-Type"] = jsonType
	head["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(status)
	_, _ = w.Write(body) // the peer may be gone; there is nobody left to tell
}

func (g *Gateway) postInfer(w http.ResponseWriter, r *http.Request) error {
	return g.serve(w, r, wire.ParseOIP, appendOIPReply)
}

func (g *Gateway) postInvocations(w http.ResponseWriter, r *http.Request) error {
	return g.serve(w, r, wire.ParseMLflow, appendMLflowReply)
}

// serve reads a request, has it answered, and writes the answer.
func (g *Gateway) serve(w http.ResponseWriter, r *http.Request, parse func(string) (*wire.Request, error), write func([]byte, *call, *reply) []byte) error {
	c := &call{model: driftline.ModelName(r.PathValue("model")), time: g.engine.Now()}
	body, err := readBody(r)
	if err != nil {
		return err
	}
	if err := g.hold(int64(len(body))); err != nil {
		return err
	}
	defer g.release(int64(len(body)))
	if c.request, err = parse(body); err != nil {
		return err
	}
	if err := c.ask(first(r.Header, KeyHeader), cmpOr(r.PathValue("version"), first(r.Header, VersionHeader)), first(r.Header, PredictionHeader)); err != nil {
		return err
	}
	answered, err := g.predict(r.Context(), c)
	var failed *failure
	if errors.As(err, &failed) {
		failed.head(w.Header())
		WriteError(w, r, &driftline.Error{Message: string(c.model) + ": " + failed.Error()}, failed.status())
		return nil
	}
	if err != nil {
		return err
	}
	answered.head(w.Header())
	buffer := buffers.Get().(*[]byte)
	*buffer = write((*buffer)[:0], c, answered)
	send(w, http.StatusOK, *buffer)
	recycle(buffer)
	return nil
}

// ask takes what is asked of the gateway itself: of headers and parameters the headers count.
func (c *call) ask(key, pin, id string) error {
	c.key, c.pin, c.id = cmpOr(key, c.request.Key), cmpOr(pin, c.request.Version), id
	const most = 200
	if len(c.id) > most {
		return driftline.Errorf(driftline.Invalid, "the prediction's ID has %d bytes, want at most %d", len(c.id), most)
	}
	if c.id == "" {
		c.id = newID(c.time)
	}
	return nil
}

func cmpOr(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// first is a header's first value; its name must be in canonical form.
func first(h http.Header, name string) string {
	if values := h[name]; len(values) > 0 {
		return values[0]
	}
	return ""
}

// head says in headers who answered.
func (r *reply) head(h http.Header) {
	h[VersionHeader] = []string{strconv.Itoa(r.version)}
	h[PredictionHeader] = []string{r.id}
	if r.arm != "" {
		h[ArmHeader] = []string{string(r.arm)}
	}
	if r.fellBack != "" {
		h[FallbackHeader] = []string{string(r.fellBack)}
	}
}

// status is that of HTTP: a model that refuses the input says so to whoever gave it.
func (f *failure) status() int {
	switch f.fault {
	case driftline.FaultRejected:
		return http.StatusBadRequest
	case driftline.FaultOurs:
		return http.StatusServiceUnavailable
	}
	return http.StatusBadGateway
}

func appendOIPReply(to []byte, c *call, r *reply) []byte {
	to = append(append(to, `{"model_name":`...), wire.Quote(string(c.model))...)
	to = append(append(to, `,"model_version":"`...), strconv.Itoa(r.version)...)
	to = append(to, '"')
	if c.request.ID != "" {
		to = append(append(to, `,"id":`...), wire.Quote(c.request.ID)...)
	}
	to = append(append(append(to, `,"parameters":{"arm":"`...), r.arm...), `","prediction_id":`...)
	to = append(to, wire.Quote(r.id)...)
	to = r.answer.AppendOutputs(append(to, `},"outputs":`...))
	return append(to, '}')
}

func appendMLflowReply(to []byte, _ *call, r *reply) []byte {
	return append(r.answer.AppendPredictions(append(to, `{"predictions":`...)), '}')
}

// buffers keeps answers of the common size from being allocated anew.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 4<<10); return &b }}

func recycle(b *[]byte) {
	const most = 1 << 20
	if cap(*b) <= most {
		buffers.Put(b)
	}
}

// readBody reads JSON in UTF-8, whatever it is called as long as it is not called something else.
func readBody(r *http.Request) (string, error) {
	if kind := first(r.Header, "Content-Type"); kind != "" && kind != "application/json" {
		media, params, err := mime.ParseMediaType(kind)
		if charset := strings.ToLower(params["charset"]); err != nil || media != "application/json" || charset != "" && charset != "utf-8" {
			return "", driftline.Errorf(driftline.Invalid, "the body is %q, want application/json in UTF-8", clip(kind)).
				WithHint("tables in CSV and tensors in binary are not read here")
		}
	}
	text, err := readAtMost(r.Body, r.ContentLength, MaxBody)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge), errors.Is(err, errTooLarge):
		return "", driftline.Errorf(driftline.Exhausted, "the body has more than %d MiB", MaxBody>>20).WithHint("send fewer rows at a time")
	case errors.Is(err, io.ErrUnexpectedEOF), err != nil:
		return "", driftline.Errorf(driftline.Invalid, "the body broke off")
	}
	return text, nil
}
