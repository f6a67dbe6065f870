package migrate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/driftline/driftline"
)

// Server is an address where MLflow's protocol is spoken.
type Server struct {
	URL      string
	User     string // of HTTP Basic, with Password
	Password string
	Token    string // of a Bearer header

	client http.Client
}

const api = "/api/2.0/mlflow/"

// failure is an answer that says no.
type failure struct {
	status  int
	code    string // MLflow's word
	message string
}

func (f *failure) Error() string {
	return fmt.Sprintf("HTTP %d %s: %s", f.status, f.code, f.message)
}

// missing reports whether an answer says that there is no such thing.
func missing(err error) bool {
	var f *failure
	return errors.As(err, &f) && f.status == http.StatusNotFound
}

// attempts and the first wait between them, for faults that pass.
const (
	attempts  = 6
	firstWait = 500 * time.Millisecond
)

// passes reports whether an answer is one of a server that is busy or restarts.
func passes(status int) bool {
	return status == http.StatusTooManyRequests || status == http.StatusBadGateway || status == http.StatusServiceUnavailable || status == http.StatusGatewayTimeout
}

// call sends a request with JSON and reads JSON, and tries again where a fault may pass.
func (s *Server) call(ctx context.Context, method, path string, query url.Values, body, into any) error {
	var encoded []byte
	if body != nil {
		var err error
		if encoded, err = json.Marshal(body); err != nil {
			return err
		}
	}
	for n := 0; ; n++ {
		answer, err := s.do(ctx, method, path, query, bytes.NewReader(encoded), int64(len(encoded)))
		var f *failure
		if err == nil {
			err = readJSON(answer, into)
			if err == nil {
				return nil
			}
		} else if errors.As(err, &f) && !passes(f.status) {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if n+1 == attempts {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(firstWait << n):
		}
	}
}

func readJSON(answer *http.Response, into any) error {
	defer answer.Body.Close()
	if into == nil {
		_, err := io.Copy(io.Discard, answer.Body)
		return err
	}
	return json.NewDecoder(answer.Body).Decode(into)
}

// do sends one request. The caller closes the body of an answer; one that says no is an error.
func (s *Server) do(ctx context.Context, method, path string, query url.Values, body io.Reader, length int64) (*http.Response, error) {
	address := strings.TrimSuffix(s.URL, "/") + path
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	request, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil {
		return nil, driftline.Errorf(driftline.Invalid, "address %q cannot be asked", clip(s.URL)).WithHint("write http://host:port")
	}
	request.ContentLength = length
	if method != http.MethodGet {
		request.Header.Set("Content-Type", "application/json")
	}
	switch {
	case s.Token != "":
		request.Header.Set("Authorization", "Bearer "+s.Token)
	case s.User != "":
		request.SetBasicAuth(s.User, s.Password)
	}
	answer, err := s.client.Do(request)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode < 300 {
		return answer, nil
	}
	defer answer.Body.Close()
	said, _ := io.ReadAll(io.LimitReader(answer.Body, 4096))
	f := &failure{status: answer.StatusCode}
	var ours struct {
		Code    string `json:"error_code"`
		Message string `json:"message"`
	}
	if json.Unmarshal(said, &ours) == nil {
		f.code, f.message = ours.Code, clip(ours.Message)
	}
	return nil, f
}

// clip shortens what a server sent for a message.
func clip(s string) string {
	const most = 200
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// escaped is a path of which each segment is escaped.
func escaped(path string) string {
	segments := strings.Split(path, "/")
	for i, segment := range segments {
		segments[i] = url.PathEscape(segment)
	}
	return strings.Join(segments, "/")
}

// The things of the protocol, as far as they are copied. Numbers are kept as they are written.
type (
	pair struct {
		Key   string `json:"key"`
		Value string `json:"value"`
	}

	experiment struct {
		ID    string `json:"experiment_id"`
		Name  string `json:"name"`
		Stage string `json:"lifecycle_stage"`
		Tags  []pair `json:"tags"`
	}

	run struct {
		Info    runInfo         `json:"info"`
		Data    runData         `json:"data"`
		Inputs  json.RawMessage `json:"inputs"`
		Outputs json.RawMessage `json:"outputs"`
	}

	runInfo struct {
		ID           string `json:"run_id"`
		Name         string `json:"run_name"`
		ExperimentID string `json:"experiment_id"`
		User         string `json:"user_id"`
		Status       string `json:"status"`
		Start        millis `json:"start_time"`
		End          millis `json:"end_time"`
		URI          string `json:"artifact_uri"`
		Stage        string `json:"lifecycle_stage"`
	}

	runData struct {
		Metrics []metric `json:"metrics"`
		Params  []pair   `json:"params"`
		Tags    []pair   `json:"tags"`
	}

	metric struct {
		Key       string          `json:"key"`
		Value     json.RawMessage `json:"value"`
		Timestamp json.RawMessage `json:"timestamp,omitempty"`
		Step      json.RawMessage `json:"step,omitempty"`
		ModelID   string          `json:"model_id,omitempty"`
		Dataset   string          `json:"dataset_name,omitempty"`
		Digest    string          `json:"dataset_digest,omitempty"`
	}

	loggedModel struct {
		Info struct {
			ID           string `json:"model_id"`
			ExperimentID string `json:"experiment_id"`
			Name         string `json:"name"`
			Type         string `json:"model_type"`
			Run          string `json:"source_run_id"`
			Status       string `json:"status"`
			URI          string `json:"artifact_uri"`
			Created      millis `json:"creation_timestamp_ms"`
			Tags         []pair `json:"tags"`
		} `json:"info"`
		Data struct {
			Params []pair `json:"params"`
		} `json:"data"`
	}

	registeredModel struct {
		Name        string `json:"name"`
		Description string `json:"description"`
		Tags        []pair `json:"tags"`
		Aliases     []struct {
			Alias   string        `json:"alias"`
			Version versionNumber `json:"version"`
		} `json:"aliases"`
	}

	modelVersion struct {
		Name        string        `json:"name"`
		Version     versionNumber `json:"version"`
		Created     millis        `json:"creation_timestamp"`
		Description string        `json:"description"`
		Source      string        `json:"source"`
		Run         string        `json:"run_id"`
		RunLink     string        `json:"run_link"`
		Stage       string        `json:"current_stage"`
		ModelID     string        `json:"model_id"`
		Tags        []pair        `json:"tags"`
	}
)

// millis are milliseconds since 1970, written as a number or as a text.
type millis int64

// UnmarshalJSON reads 3 and "3".
func (m *millis) UnmarshalJSON(data []byte) error {
	var n json.Number
	if err := json.Unmarshal(bytes.Trim(data, `"`), &n); err != nil || n == "" {
		return err
	}
	whole, err := n.Int64()
	*m = millis(whole)
	return err
}

// versionNumber is the number of a version, written as a number or as a text.
type versionNumber = millis

func pairsMap(pairs []pair) map[string]string {
	m := map[string]string{}
	for _, p := range pairs {
		m[p.Key] = p.Value
	}
	return m
}
