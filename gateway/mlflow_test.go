package gateway_test

import (
	"encoding/json"
	"fmt"
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/driftline/driftline"
)

// TestTheRealMLflow asks a scoring server of the published mlflow package by way of the gateway, in both
// protocols, and as the evaluation gate does, and kills it.
func TestTheRealMLflow(t *testing.T) {
	bin, err := filepath.Abs("../.venv-mlflow/bin")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(bin, "mlflow")); err != nil {
		t.Skip("mlflow is not installed: make .venv-mlflow/.stamp")
	}
	url, stop := startMLflow(t, bin)
	s := newStand(t, nil)
	s.serveAt(1, driftline.ModelServer{URL: url, Protocol: driftline.ProtocolMLflow, Timeout: driftline.Duration(time.Minute),
		Features: &driftline.FeatureSet{Service: "delay_model"}})
	want := func(temp, gusts float64) float64 { return 2*temp - 3*gusts + 7 }
	for _, c := range []struct {
		path, body string
		want       []float64
	}{
		{invoke, `{"entities":{"airport":["JFK","LGA"]}}`, []float64{want(39.5, 7), want(41, 9)}},
		{invoke, `{"dataframe_records":[{"temp":10,"gusts":2}]}`, []float64{want(10, 2)}},
		{invoke, `{"dataframe_split":{"columns":["temp","gusts"],"data":[[10.5,2],[0,0]]}}`, []float64{want(10.5, 2), want(0, 0)}},
		{invoke, `{"inputs":{"temp":[10.5],"gusts":[2]}}`, []float64{want(10.5, 2)}},
		{invoke, `{"instances":[{"temp":10.5,"gusts":2}]}`, []float64{want(10.5, 2)}},
		{infer, whole, []float64{want(50, 10)}},
		{infer, `{"entities":{"airport":["JFK"]}}`, []float64{want(39.5, 7)}},
	} {
		w := s.post(c.path, c.body)
		if w.Code != 200 {
			t.Errorf("%s %s: %d %s", c.path, c.body, w.Code, w.Body)
			continue
		}
		got := predictions(t, c.path, w.Body.Bytes())
		for i := range c.want {
			if len(got) != len(c.want) || math.Abs(got[i]-c.want[i]) > 1e-6 {
				t.Errorf("%s %s: %v, want %v", c.path, c.body, got, c.want)
			}
		}
	}
	w := s.post(invoke, `{"dataframe_records":[{"temp":"warm","gusts":2}]}`)
	var failure map[string]string
	if err := json.Unmarshal(w.Body.Bytes(), &failure); err != nil || w.Code != 400 || failure["message"] == "" || len(failure["message"]) > 500 {
		t.Errorf("of an input that the model refuses: %d %s", w.Code, w.Body)
	}
	if w := s.get("/models/late/ping"); w.Code != 200 {
		t.Errorf("ping: %d %s", w.Code, w.Body)
	}
	evaluateMLflow(t, url)
	stop()
	if w := s.post(invoke, `{"entities":{"airport":["JFK"]}}`); w.Code != 502 {
		t.Errorf("of a server that was killed: %d %s", w.Code, w.Body)
	}
}

// startMLflow trains a model and serves it; stop kills the server and all that it started.
func startMLflow(t *testing.T, bin string) (url string, stop func()) {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "model")
	if out, err := exec.Command(filepath.Join(bin, "python"), "testdata/train.py", folder).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	server := exec.Command(filepath.Join(bin, "mlflow"), "models", "serve", "-m", folder, "-h", "127.0.0.1", "-p", fmt.Sprint(port), "--env-manager", "local", "-w", "1")
	server.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "MLFLOW_TRACKING_URI="+t.TempDir())
	server.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	server.Stdout, server.Stderr = log, log
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			_ = syscall.Kill(-server.Process.Pid, syscall.SIGKILL) // it may have ended by itself
			_ = server.Wait()                                      // killed
			log.Close()
		}
	}
	t.Cleanup(stop)
	url = fmt.Sprintf("http://127.0.0.1:%d", port)
	const patience = 4 * time.Minute
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for began := time.Now(); time.Since(began) < patience; time.Sleep(250 * time.Millisecond) {
		if response, err := client.Get(url + "/ping"); err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return url, stop
			}
		}
	}
	text, _ := os.ReadFile(log.Name())
	t.Fatalf("mlflow models serve does not answer:\n%s", text)
	return "", stop
}
