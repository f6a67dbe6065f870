package driftline

import (
	"net/url"
	"strings"
	"time"
)

// ModelProtocol is what a model server speaks.
type ModelProtocol string

// The protocols.
const (
	ProtocolOIP    ModelProtocol = "oip"    // the Open Inference Protocol, version 2, over HTTP: MLServer, KServe, Triton, …
	ProtocolMLflow ModelProtocol = "mlflow" // POST /invocations, as `mlflow models serve` answers it
)

// ModelProtocols lists all of them.
var ModelProtocols = []ModelProtocol{ProtocolOIP, ProtocolMLflow}

// ModelServer is where a version of a model answers, and what it is to be given. It is
// declared for each version, so that two versions are two addresses, or two names at one.
type ModelServer struct {
	// URL is what comes before /v2/models, or before /invocations: http://127.0.0.1:5001.
	URL      string        `json:"url"`
	Protocol ModelProtocol `json:"protocol,omitempty"` // oip if left out

	// Name and Version are what an OIP server calls the model: the registered name if Name is
	// "", and the version that the server chooses if Version is "".
	Name    string `json:"name,omitempty"`
	Version string `json:"version,omitempty"`

	// Timeout is how long an answer may take; 5 seconds if 0, 10 minutes at most.
	Timeout Duration `json:"timeout,omitempty"`

	// Concurrency is how many requests the server gets at a time; 64 if 0.
	Concurrency int `json:"concurrency,omitempty"`

	// MaxBatch joins requests that come at the same time into one of at most so many rows, for
	// models whose answer to a row does not depend on the others; 0 joins none. BatchDelay is how
	// long a request waits at most for others, while one is under way; 1 ms if 0.
	MaxBatch   int      `json:"max_batch,omitempty"`
	BatchDelay Duration `json:"batch_delay,omitempty"`

	// Tensor makes the columns one input of that name, a matrix of numbers with a row for each
	// row and a column for each feature in its order. "" gives each column as an input of its own.
	Tensor string `json:"tensor,omitempty"`

	// Features are looked up online where a request brings keys instead of them. Nil means those
	// of the dataset that the version was trained on, if one is recorded.
	Features *FeatureSet `json:"features,omitempty"`
}

// Limits and defaults of model servers.
const (
	DefaultModelTimeout     = 5 * time.Second
	MostModelTimeout        = 10 * time.Minute
	DefaultModelConcurrency = 64
	MostModelConcurrency    = 4096
	MostModelBatch          = 10_000
	DefaultBatchDelay       = time.Millisecond
	MostBatchDelay          = 10 * time.Second
)

// WithDefaults fills in what is left out.
func (s ModelServer) WithDefaults() ModelServer {
	if s.Protocol == "" {
		s.Protocol = ProtocolOIP
	}
	if s.Timeout == 0 {
		s.Timeout = Duration(DefaultModelTimeout)
	}
	if s.Concurrency == 0 {
		s.Concurrency = DefaultModelConcurrency
	}
	if s.MaxBatch > 0 && s.BatchDelay == 0 {
		s.BatchDelay = Duration(DefaultBatchDelay)
	}
	s.URL = strings.TrimRight(s.URL, "/")
	return s
}

// Check reports what is wrong with a server's declaration. Whether its address may be
// reached is decided by whoever connects to it, each time.
func (s *ModelServer) Check() error {
	if err := checkServerURL(s.URL); err != nil {
		return err
	}
	switch {
	case s.Protocol != "" && s.Protocol != ProtocolOIP && s.Protocol != ProtocolMLflow:
		return Errorf(Invalid, "protocol %q of the model server is not known", clip(string(s.Protocol))).WithHint("use oip or mlflow")
	case s.Timeout < 0 || time.Duration(s.Timeout) > MostModelTimeout:
		return Errorf(Invalid, "timeout %s is not possible", s.Timeout).WithHint("give more than 0 and at most %s", MostModelTimeout)
	case s.Concurrency < 0 || s.Concurrency > MostModelConcurrency:
		return Errorf(Invalid, "concurrency %d is not possible", s.Concurrency).WithHint("give 1 to %d", MostModelConcurrency)
	case s.MaxBatch < 0 || s.MaxBatch > MostModelBatch:
		return Errorf(Invalid, "max_batch %d is not possible", s.MaxBatch).WithHint("give 2 to %d rows, or 0 to send each request by itself", MostModelBatch)
	case s.BatchDelay < 0 || time.Duration(s.BatchDelay) > MostBatchDelay:
		return Errorf(Invalid, "batch_delay %s is not possible", s.BatchDelay).WithHint("give at most %s", MostBatchDelay)
	case s.BatchDelay > 0 && s.MaxBatch == 0:
		return Errorf(Invalid, "batch_delay is given, and max_batch is not").WithHint("say with max_batch how many rows the server may get at once")
	case s.Protocol == ProtocolMLflow && (s.Name != "" || s.Version != ""):
		return Errorf(Invalid, "a server of protocol mlflow has one model, and no name for it").WithHint("leave name and version out")
	}
	for what, text := range map[string]string{"name": s.Name, "version": s.Version, "tensor": s.Tensor} {
		if len(text) > mostServerText || strings.ContainsAny(text, "\x00\r\n") {
			return Errorf(Invalid, "the %s of the model at its server is not valid", what).WithHint("give at most %d bytes on one line", mostServerText)
		}
	}
	return nil
}

const mostServerText = 500

func checkServerURL(text string) error {
	wrong := func(why string) error { // without the URL, in which somebody may have put a secret
		return Errorf(Invalid, "the URL of the model server is not valid: %s", why).WithHint("write http://host:port, with a path if it has one")
	}
	u, err := url.Parse(text)
	switch {
	case text == "":
		return wrong("it is empty")
	case err != nil || len(text) > mostServerText:
		return wrong("it cannot be read")
	case u.Scheme != "http" && u.Scheme != "https":
		return wrong("it is neither http:// nor https://")
	case u.User != nil:
		return wrong("it has a user in it")
	case u.Hostname() == "":
		return wrong("it names no host")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return wrong("it has a query or a fragment")
	}
	return nil
}

// ModelServerChange declares where a version answers, or, with no server, that it does not.
type ModelServerChange struct {
	Server *ModelServer `json:"server"`
	By     string       `json:"by,omitempty"`
	Reason string       `json:"reason,omitempty"`
}
