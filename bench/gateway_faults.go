package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/routing"
)

// What a candidate does must not be felt by those whom the champion answers: cases A28, A29 and A33 of
// docs/proof.md, in time. What comes of each request is kept and looked at when all are answered: it must be the sum that the
// model server says, by the champion.

const (
	hangTimes   = 1.1  // of the champion's latency, while a candidate hangs and after its circuit opened
	mirrorTimes = 1.05 // likewise, while a mirror is full
	bakeEffect  = 1    // s from a verdict to its effect

	faultShare       = 50  // percent of the requests that the candidate gets, or the shadow too
	faultConnections = 800 // more than a hanging server and its queue hold, so that no request waits for a connection
	artifactBytes    = 8 << 20
)

// faulty is a model server in this process that does as it is told.
type faulty struct {
	url    string
	server *http.Server
	served sync.WaitGroup
	held   atomic.Pointer[chan struct{}] // while it hangs: closed when it does not any more
	fails  atomic.Bool
	asked  atomic.Int64
}

func startFaulty() (*faulty, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	f := &faulty{url: "http://" + l.Addr().String()}
	f.server = &http.Server{ReadHeaderTimeout: time.Minute, Handler: f}
	f.served.Go(func() { _ = f.server.Serve(l) }) // until it is closed
	return f, nil
}

// ServeHTTP is ready whatever it is told, and answers as the others do unless it is told otherwise.
func (f *faulty) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		return
	}
	f.asked.Add(1)
	switch held := f.held.Load(); {
	case f.fails.Load():
		w.WriteHeader(http.StatusInternalServerError)
		return
	case held != nil:
		body, err := readWhole(r) // so that the end of the connection is seen
		if err != nil {
			return
		}
		select {
		case <-*held:
		case <-r.Context().Done():
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	answerSums(w, r)
}

func (f *faulty) hang() { f.held.Store(new(make(chan struct{}))) }

func (f *faulty) heal() {
	f.fails.Store(false)
	if held := f.held.Swap(nil); held != nil {
		close(*held)
	}
}

func (f *faulty) stop() error {
	f.heal()
	err := f.server.Close()
	f.served.Wait()
	return err
}

// faultStand is a model of which version 1 is champion, candidates of it, and requests.
type faultStand struct {
	b         *bench
	s         *server
	model     driftline.ModelName
	candidate *faulty

	entities [][]byte    // of requests, as JSON
	want     [][]float64 // what the model server says to each
}

// onFaultStand runs do with a stand of its own.
func onFaultStand(ctx context.Context, b *bench, model driftline.ModelName, do func(*faultStand) error) (err error) {
	s, entities, err := b.servedOnline(ctx)
	if err != nil {
		return err
	}
	champion, stopChampion, err := b.startSelf(ctx, "", modelCommand)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stopChampion()) }()
	st := &faultStand{b: b, s: s, model: model}
	if st.candidate, err = startFaulty(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.candidate.stop()) }()
	first, err := st.version(ctx, driftline.ModelServer{URL: champion, Concurrency: faultConnections}) // or it refuses what comes while the machine stands still
	if err != nil {
		return err
	}
	if _, err := s.client.MoveAlias(ctx, model, driftline.AliasChampion, driftline.AliasMove{Version: first}); err != nil {
		return err
	}
	if err := st.makeRequests(ctx, entities, champion); err != nil {
		return err
	}
	return do(st)
}

// artifact is the file of a version, a different one each.
func artifact(version int) io.Reader {
	content := make([]byte, artifactBytes)
	seed := [32]byte{byte(version), byte(version >> 8)}
	_, _ = rand.NewChaCha8(seed).Read(content) // never fails
	return bytes.NewReader(content)
}

// version registers the next version, with a file, and says where it is served.
func (st *faultStand) version(ctx context.Context, at driftline.ModelServer) (int, error) {
	run, err := st.s.client.CreateRun(ctx, driftline.RunSpec{Experiment: "gateway"})
	if err != nil {
		return 0, err
	}
	number := 1
	if known, err := st.s.client.Model(ctx, st.model); err == nil {
		number += len(known.Versions)
	}
	if _, err := st.s.client.PutArtifact(ctx, run.ID, "model/weights", artifact(number)); err != nil {
		return 0, err
	}
	v, err := st.s.client.RegisterModel(ctx, driftline.ModelSpec{Model: st.model, Run: run.ID, Artifact: "model"})
	if err != nil {
		return 0, err
	}
	at.Tensor, at.Features = "x", &driftline.FeatureSet{Features: byFeatures(gatewayFeatures).Features}
	_, err = st.s.client.SetModelServer(ctx, st.model, strconv.Itoa(v.Version), driftline.ModelServerChange{Server: &at})
	return v.Version, err
}

// makeRequests makes requests of one row by the key of an entity, and asks the model server for what is to be answered.
func (st *faultStand) makeRequests(ctx context.Context, entities int, champion string) error {
	direct, through, err := gatewayWorkload{rows: 1}.loads(ctx, st.s, entities)
	if err != nil {
		return err
	}
	direct.url, direct.connections = champion+"/v2/models/"+string(st.model)+"/infer", onlineConnections
	said, err := direct.run(ctx, true)
	if err != nil {
		return err
	}
	for i, body := range through.bodies {
		sums, err := outputsIn(said.answers[i])
		if err != nil {
			return err
		}
		st.entities, st.want = append(st.entities, bytes.TrimSuffix(body, []byte("}"))), append(st.want, sums)
	}
	return nil
}

// faultKey is what the request of a number is dealt by: each is somebody else's.
func faultKey(request int) string { return fmt.Sprint("user-", request) }

func (st *faultStand) body(request int) []byte {
	return fmt.Appendf(nil, `%s,"parameters":{"routing_key":%q}}`, st.entities[request%len(st.entities)], faultKey(request))
}

// rollOut starts a rollout and waits for a phase of it.
func (st *faultStand) rollOut(ctx context.Context, version int, plan driftline.RolloutPlan, phase driftline.RolloutPhase) (*driftline.RolloutStatus, *routing.Router, error) {
	plan.Guards = []driftline.Guard{{Kind: driftline.GuardErrors}} // which needs no baseline
	started, err := st.s.client.StartRollout(ctx, driftline.RolloutRequest{Model: st.model, Version: strconv.Itoa(version), Plan: &plan})
	if err != nil {
		return nil, nil, err
	}
	return st.reaches(ctx, started.Rollout.ID, phase)
}

// reaches waits for a phase of a rollout, and returns who answers then.
func (st *faultStand) reaches(ctx context.Context, id driftline.RolloutID, phase driftline.RolloutPhase) (*driftline.RolloutStatus, *routing.Router, error) {
	const patience, look = 30 * time.Second, 50 * time.Millisecond
	for deadline := time.Now().Add(patience); ; {
		status, err := st.s.client.Rollout(ctx, id)
		if err != nil {
			return nil, nil, err
		}
		if status.Phase == phase {
			router, err := routing.New(status.Route)
			return status, router, err
		}
		if time.Now().After(deadline) || status.Phase.Ended() {
			return nil, nil, fmt.Errorf("rollout %s is %s (%s), want %s", id, status.Phase, status.Reason, phase)
		}
		select {
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		case <-time.After(look):
		}
	}
}

// load is so many seconds of requests, by their numbers, again and again.
func (st *faultStand) load(pace int, seconds float64, requests []int) faultLoad {
	l := faultLoad{onlineLoad: onlineLoad{url: st.s.url + "/v2/models/" + string(st.model) + "/infer",
		connections: faultConnections, every: time.Second / time.Duration(pace)}}
	for i := range int(float64(pace) * seconds) {
		l.requests = append(l.requests, requests[i%len(requests)])
		l.bodies = append(l.bodies, st.body(l.requests[i]))
	}
	return l
}

// faultLoad is a load of a stand's requests.
type faultLoad struct {
	onlineLoad
	requests []int // by their numbers
}

// asked is what became of a request.
type asked struct {
	request  int // its number
	sent     time.Time
	took     time.Duration
	answer   []byte // head and body
	fellBack bool   // the champion answered in the candidate's place
}

// run sends the requests and looks at what was answered to each.
func (l faultLoad) run(ctx context.Context, st *faultStand) ([]asked, error) {
	all := make([]asked, len(l.requests))
	_, err := l.plainly(ctx, func(i int, c *plainConnection, request []byte) (err error) {
		a := &all[i]
		a.request, a.sent = l.requests[i], time.Now()
		a.answer, err = c.whole(request)
		a.took = time.Since(a.sent)
		return err
	})
	if err != nil {
		return nil, err
	}
	for i := range all {
		if err := st.check(&all[i]); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// check fails if an answer is not the one that the model server gives.
func (st *faultStand) check(a *asked) error {
	head, body, _ := bytes.Cut(a.answer, []byte("\r\n\r\n"))
	sums, err := outputsIn(body)
	if err != nil {
		return err
	}
	if want := st.want[a.request%len(st.want)]; !slices.Equal(sums, want) {
		return fmt.Errorf("the answer to %s is %v, the model says %v", st.body(a.request), sums, want)
	}
	a.fellBack = bytes.Contains(head, []byte("X-Fallback-Fault: "))
	return nil
}

// by reports whether a version answered.
func (a *asked) by(version int) bool {
	return bytes.Contains(a.answer, fmt.Appendf(nil, "\r\nX-Model-Version: %d\r\n", version))
}

// byChampion fails if version 1 did not answer all requests.
func byChampion(all []asked) error {
	for i := range all {
		if !all[i].by(1) {
			return fmt.Errorf("request %d of %d was not answered by the champion: %.300s", i, len(all), all[i].answer)
		}
	}
	return nil
}

// latencies are those of the requests of which keep is true.
func latencies(all []asked, keep func(i int) bool) (r loadResult) {
	for i := range all {
		if keep(i) {
			r.latencies = append(r.latencies, all[i].took)
		}
	}
	slices.Sort(r.latencies)
	return r
}

// latencyPairs are latencies of two sides that take turns, as rows of their median and their 99th percentile.
type latencyPairs struct{ ours, theirs [2][]float64 }

var faultPercentiles = [2]int{50, 99}

func (r *latencyPairs) add(ours, theirs loadResult) {
	for i, p := range faultPercentiles {
		r.ours[i], r.theirs[i] = append(r.ours[i], ours.percentile(p)), append(r.theirs[i], theirs.percentile(p))
	}
}

func (r *latencyPairs) keep(b *bench, name, peer string, times float64) {
	for i, p := range faultPercentiles {
		b.keep(summarize(workload{name: fmt.Sprintf("%s, p%d", name, p), unit: "ms", goal: atMost(times), uncompared: true}, peer, r.ours[i], r.theirs[i]))
	}
}

// gatewayHang is A28. The candidate hangs from the first of its requests on: until the first of them times out nobody knows,
// and then its circuit opens and it is rolled back. Requests of either arm take turns, and those of the champion count.
func gatewayHang(ctx context.Context, b *bench) error {
	pace, timeout := pick(b, 100, 1000), pick(b, time.Second, 15*time.Second)
	return onFaultStand(ctx, b, "hanging", func(st *faultStand) error {
		st.candidate.hang()
		var hanging, after latencyPairs
		for range b.pairs() {
			version, err := st.version(ctx, driftline.ModelServer{URL: st.candidate.url, Timeout: driftline.Duration(timeout)})
			if err != nil {
				return err
			}
			status, router, err := st.rollOut(ctx, version, driftline.RolloutPlan{Stages: []driftline.CanaryStage{{Weight: faultShare}}}, driftline.RolloutCanary)
			if err != nil {
				return err
			}
			requests := inTurns(router)
			st.candidate.asked.Store(0)
			all, err := st.load(pace, 2*timeout.Seconds(), requests).run(ctx, st)
			if err != nil {
				return err
			}
			if err := byChampion(all); err != nil {
				return err
			}
			if status, _, err = st.reaches(ctx, status.ID, driftline.RolloutRolledBack); err != nil {
				return err
			}
			alone, err := st.load(pace, timeout.Seconds(), requests).run(ctx, st)
			if err != nil {
				return err
			}
			champions := func(i int) bool { return i%2 == 0 }
			noticed := len(all) / 2 // the first timeout
			none := latencies(alone, champions)
			hung := latencies(all, func(i int) bool { return i < noticed && champions(i) })
			over := latencies(all, func(i int) bool { return i >= noticed && champions(i) })
			hanging.add(hung, none)
			after.add(over, none)
			b.progress("p99 %.3f ms while it hangs, %.3f after, %.3f without it; it got %d requests, %s; %s after the first it was out: %s", hung.percentile(99), over.percentile(99),
				none.percentile(99), st.candidate.asked.Load(), fellBack(all), status.Ended.Sub(all[1].sent).Round(time.Millisecond), status.Reason)
		}
		name := fmt.Sprintf("%s requests/s, a candidate of %d %% hangs: ", count(pace), faultShare)
		hanging.keep(b, name+"the champion's until it is noticed", "ours, no candidate", hangTimes)
		after.keep(b, name+"the champion's from then on", "ours, no candidate", hangTimes)
		return nil
	})
}

// mostFaultRequests is more than a load needs of either arm before it begins anew.
const mostFaultRequests = 20_000

// faultRequests are the numbers of all requests.
func faultRequests() (all []int) {
	for i := range mostFaultRequests {
		all = append(all, i)
	}
	return all
}

// inTurns are requests of the champion and of the candidate.
func inTurns(router *routing.Router) (turns []int) {
	var of [2][]int
	for i := range mostFaultRequests {
		arm := 0
		if router.Decide(faultKey(i)).Arm == driftline.ArmCandidate {
			arm = 1
		}
		of[arm] = append(of[arm], i)
	}
	for i := range min(len(of[0]), len(of[1])) {
		turns = append(turns, of[0][i], of[1][i])
	}
	return turns
}

// fellBack says how many requests the champion answered in the candidate's place, and how long these waited.
func fellBack(all []asked) string {
	r := latencies(all, func(i int) bool { return all[i].fellBack })
	if len(r.latencies) == 0 {
		return "none fell back"
	}
	return fmt.Sprintf("%d fell back, half of them within %.1f ms", len(r.latencies), r.percentile(50))
}

// gatewayMirror is A29. Before what counts the mirror is filled: all its workers wait for the shadow, and so many requests for them that no
// other is taken.
func gatewayMirror(ctx context.Context, b *bench) error {
	pace, seconds := pick(b, 300, 1000), pick(b, 1.0, 20)
	return onFaultStand(ctx, b, "mirrored", func(st *faultStand) error {
		var full latencyPairs
		for range b.pairs() {
			alone, err := st.load(pace, seconds, faultRequests()).run(ctx, st)
			if err != nil {
				return err
			}
			mirrored, err := st.whileFull(ctx, pace, seconds, faultRequests())
			if err != nil {
				return err
			}
			every := func(int) bool { return true }
			ours, theirs := latencies(mirrored, every), latencies(alone, every)
			full.add(ours, theirs)
			b.progress("p99 %.3f ms, %.3f without a shadow", ours.percentile(99), theirs.percentile(99))
		}
		full.keep(b, fmt.Sprintf("%s requests/s, the mirror of %d %% is full: the champion's", count(pace), faultShare), "ours, no shadow", mirrorTimes)
		return nil
	})
}

// whileFull sends requests while a shadow hangs, and fails unless each that was to be mirrored was counted as dropped.
func (st *faultStand) whileFull(ctx context.Context, pace int, seconds float64, requests []int) ([]asked, error) {
	st.candidate.hang()
	defer st.candidate.heal()
	version, err := st.version(ctx, driftline.ModelServer{URL: st.candidate.url, Timeout: driftline.Duration(driftline.MostModelTimeout)})
	if err != nil {
		return nil, err
	}
	status, router, err := st.rollOut(ctx, version, driftline.RolloutPlan{Shadow: &driftline.ShadowStage{Mirror: faultShare}}, driftline.RolloutShadow)
	if err != nil {
		return nil, err
	}
	const filled = 1000 // requests, of which half are mirrored, and half of these find room
	if _, err := st.load(filled, 1, requests).run(ctx, st); err != nil {
		return nil, err
	}
	before, err := st.dropped(ctx)
	if err != nil {
		return nil, err
	}
	all, err := st.load(pace, seconds, requests).run(ctx, st)
	if err != nil {
		return nil, err
	}
	after, err := st.dropped(ctx)
	if err != nil {
		return nil, err
	}
	if err := byChampion(all); err != nil {
		return nil, err
	}
	want := 0
	for _, a := range all {
		if len(router.Decide(faultKey(a.request)).Mirror) > 0 {
			want++
		}
	}
	if after-before != want || before == 0 {
		return nil, fmt.Errorf("%d of %d requests for the mirror were counted as dropped, and %d before", after-before, want, before)
	}
	st.b.progress("%d of %d requests were to be mirrored, and are counted as dropped", want, len(all))
	_, err = st.s.client.ActOnRollout(ctx, status.ID, driftline.RolloutAbort, driftline.RolloutCommand{Reason: "the next turn is without it"})
	return all, err
}

// dropped is how many requests for the mirror the server says that it dropped.
func (st *faultStand) dropped(ctx context.Context) (int, error) {
	page, err := get(ctx, st.s.url+"/metrics")
	if err != nil {
		return 0, err
	}
	defer page.Close()
	text, err := io.ReadAll(page)
	if err != nil {
		return 0, err
	}
	name := fmt.Sprintf(`driftline_gateway_mirrored_total{model=%q,outcome="dropped"} `, st.model)
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			return int(n), err
		}
	}
	return 0, nil
}

// gatewayBake is A33. A candidate is promoted, and two seconds later answers nothing but errors: the former champion answers in
// its place, first because each such request falls back, and after the verdict because they are its own again.
func gatewayBake(ctx context.Context, b *bench) error {
	return onFaultStand(ctx, b, "baked", func(st *faultStand) error {
		version, err := st.version(ctx, driftline.ModelServer{URL: st.candidate.url})
		if err != nil {
			return err
		}
		var seconds []float64
		for range b.pairs() {
			took, err := st.regress(ctx, version)
			if err != nil {
				return err
			}
			seconds = append(seconds, took)
		}
		b.keepLimit(workload{name: "what turned worse in its bake: from the verdict until the former champion answers", unit: "s"}, seconds, bakeEffect)
		return nil
	})
}

// regress promotes a version, has it fail, and returns the seconds from the verdict to its effect: the first answer of a request that
// is the former champion's again, after the last one that the version got.
func (st *faultStand) regress(ctx context.Context, version int) (float64, error) {
	const pace, well = 300, 2 * time.Second
	st.candidate.heal()
	status, _, err := st.rollOut(ctx, version, driftline.RolloutPlan{Stages: []driftline.CanaryStage{{Weight: faultShare}}}, driftline.RolloutCanary)
	if err != nil {
		return 0, err
	}
	command := driftline.RolloutCommand{Force: true, Reason: "it is to turn worse as champion"}
	if _, err := st.s.client.ActOnRollout(ctx, status.ID, driftline.RolloutPromote, command); err != nil {
		return 0, err
	}
	_, router, err := st.reaches(ctx, status.ID, driftline.RolloutBaking)
	if err != nil {
		return 0, err
	}
	turn := time.AfterFunc(well, func() { st.candidate.fails.Store(true) })
	defer turn.Stop()
	all, err := st.load(pace, pick(st.b, 6.0, 12), faultRequests()).run(ctx, st)
	if err != nil {
		return 0, err
	}
	if _, _, err := st.reaches(ctx, status.ID, driftline.RolloutRolledBack); err != nil {
		return 0, err
	}
	verdict, back, err := st.turnedBack(ctx, status.ID)
	if err != nil {
		return 0, err
	}
	last := -1 // of the requests that the version got
	for i := range all {
		if all[i].by(version) || all[i].fellBack {
			last = i
		}
	}
	effect := slices.IndexFunc(all[last+1:], func(a asked) bool { return router.Decide(faultKey(a.request)).Arm == driftline.ArmCandidate })
	if last < 0 || effect < 0 {
		return 0, fmt.Errorf("the version got requests until the %dth of %d, and none was returned after it", last+1, len(all))
	}
	first := &all[last+1+effect]
	took := first.sent.Add(first.took).Sub(verdict)
	st.b.progress("%.1f ms after the verdict the former champion answers, %.1f after it the alias is back; %s", milliseconds(took), milliseconds(back.Sub(verdict)), fellBack(all))
	return took.Seconds(), st.returned(ctx)
}

// turnedBack is when a rollout in its bake was decided to be worse, and when the alias was back.
func (st *faultStand) turnedBack(ctx context.Context, id driftline.RolloutID) (verdict, back time.Time, err error) {
	changes, err := st.s.client.RolloutHistory(ctx, id)
	for _, c := range changes {
		switch {
		case c.From == driftline.RolloutBaking && c.To == driftline.RolloutRollingBack && c.Cause == driftline.CauseWorse:
			verdict = c.Time
		case c.To == driftline.RolloutRolledBack:
			back = c.Time
		}
	}
	if err == nil && (verdict.IsZero() || back.IsZero()) {
		err = fmt.Errorf("rollout %s was not taken back because it was worse: %+v", id, changes)
	}
	return verdict, back, err
}

// returned fails unless version 1 is champion and its file can be had, byte for byte.
func (st *faultStand) returned(ctx context.Context) error {
	at, err := st.s.client.ModelVersion(ctx, st.model, string(driftline.AliasChampion))
	if err != nil {
		return err
	}
	if at.Version != 1 {
		return fmt.Errorf("version %d is champion, want 1", at.Version)
	}
	content, err := st.s.client.ArtifactOf(ctx, at.Ref(), "weights")
	if err != nil {
		return err
	}
	got, err := io.ReadAll(content)
	if err := errors.Join(err, content.Close()); err != nil {
		return err
	}
	want, err := io.ReadAll(artifact(1))
	if err == nil && !bytes.Equal(got, want) {
		err = fmt.Errorf("the file of version 1 has %d bytes that are not those that were stored", len(got))
	}
	return err
}
