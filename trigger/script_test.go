package trigger_test

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/trigger"
)

// TestScripts runs the scripts in testdata: what happens to a model's training over time.
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		s := &script{t: t}
		datadriven.RunTest(t, path, s.run)
	})
}

// script is one policy under test, with what an engine would keep beside its state.
type script struct {
	t        *testing.T
	schedule *trigger.Schedule
	policy   *driftline.Policy
	state    driftline.PolicyState
	prior    map[string]driftline.TrainingID
	now      time.Time
	ref      trigger.Reference
}

func (s *script) run(t *testing.T, d *datadriven.TestData) string {
	if at, ok := s.text(d, "at"); ok {
		s.now = parse(at)
	}
	if after, ok := s.text(d, "after"); ok {
		length, err := driftline.ParseDuration(strings.TrimPrefix(after, "-"))
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(after, "-") {
			length = -length
		}
		s.now = s.now.Add(time.Duration(length))
	}
	commands := map[string]func(*datadriven.TestData) string{
		"policy": s.define, "edit": s.edit, "fire": s.fire, "ask": s.ask, "claim": s.claim, "beat": s.beat, "expire": s.expire,
		"finish": s.finish, "reject": s.reject, "promoted": s.promoted, "delete": s.delete, "due": s.due,
		"window": s.window, "metric": s.metric, "data": s.data, "state": func(*datadriven.TestData) string { return s.show() },
	}
	command, ok := commands[d.Cmd]
	if !ok {
		t.Fatalf("no command %q", d.Cmd)
	}
	out := command(d)
	s.restart()
	return out
}

// restart keeps nothing but what was written down.
func (s *script) restart() {
	kept, err := json.Marshal(s.state)
	if err != nil {
		s.t.Fatal(err)
	}
	var read driftline.PolicyState
	if err := json.Unmarshal(kept, &read); err != nil {
		s.t.Fatal(err)
	}
	s.state = read
}

func (s *script) text(d *datadriven.TestData, key string) (value string, ok bool) {
	if !d.HasArg(key) {
		return "", false
	}
	d.ScanArgs(s.t, key, &value)
	return value, true
}

func (s *script) number(d *datadriven.TestData, key string, otherwise float64) float64 {
	text, ok := s.text(d, key)
	if !ok {
		return otherwise
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		s.t.Fatal(err)
	}
	return v
}

// define reads a policy as JSON, and begins anew.
func (s *script) define(d *datadriven.TestData) string {
	p := &driftline.Policy{Model: "m", Version: 1, Created: parse("2026-01-15T00:00"), Training: &driftline.TrainingJob{Command: []string{"train"}}}
	if err := json.Unmarshal([]byte(d.Input), p); err != nil {
		return err.Error()
	}
	schedule, err := trigger.Compile(p)
	if err != nil {
		return err.Error()
	}
	*s = script{t: s.t, schedule: schedule, policy: p, state: driftline.PolicyState{Model: "m"}, prior: map[string]driftline.TrainingID{}, now: p.Created}
	return ""
}

// edit changes the policy, and keeps the state.
func (s *script) edit(d *datadriven.TestData) string {
	p := *s.policy
	p.Version++
	if err := json.Unmarshal([]byte(d.Input), &p); err != nil {
		return err.Error()
	}
	schedule, err := trigger.Compile(&p)
	if err != nil {
		return err.Error()
	}
	s.schedule, s.policy = schedule, &p
	return ""
}

// fire sees the same n times, each in a bucket of its own if n is given.
func (s *script) fire(d *datadriven.TestData) string {
	bucket, _ := s.text(d, "bucket")
	data, _ := s.text(d, "data")
	name, kind := "drifted", driftline.TriggerDrift
	if text, ok := s.text(d, "kind"); ok {
		name, kind = text, driftline.TriggerKind(text)
	}
	n := int(s.number(d, "n", 1))
	var out string
	counts := map[trigger.Outcome]int{}
	for i := range n {
		cause := driftline.Cause{Trigger: name, Kind: kind, Bucket: bucket, Time: s.now, Summary: "seen"}
		if n > 1 {
			cause.Bucket = fmt.Sprint(bucket, i)
		}
		var outcome trigger.Outcome
		outcome, out = s.take(cause, data)
		counts[outcome]++
	}
	if n > 1 {
		return fmt.Sprintf("%d began, %d follow, %d attached, %d suppressed\n", counts[trigger.Began], counts[trigger.Follows], counts[trigger.Attached], counts[trigger.Suppressed])
	}
	return out
}

func (s *script) ask(d *datadriven.TestData) string {
	key, _ := s.text(d, "key")
	_, out := s.take(trigger.Request(key, "ann", d.Input, s.now), "")
	return out
}

func (s *script) take(cause driftline.Cause, data string) (trigger.Outcome, string) {
	print := trigger.Fingerprint("m", &cause)
	state, decision := trigger.Fire(s.policy, s.state, cause, s.prior[print], data, s.now)
	s.state = state
	if decision.Remember {
		s.prior[print] = decision.Run.ID
	}
	if why := decision.Suppression; why != nil {
		return decision.Outcome, fmt.Sprintf("%s: %s%s\n", why.Reason, why.Detail, next(why.Next))
	}
	return decision.Outcome, fmt.Sprintf("%s %s, %d causes\n", decision.Outcome, decision.Run.ID, decision.Run.CauseCount)
}

func next(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return "; next " + show(t)
}

func (s *script) claim(d *datadriven.TestData) string {
	owner, _ := s.text(d, "owner")
	data, _ := s.text(d, "data")
	state, run := trigger.Claim(s.policy, s.state, owner, data, s.now)
	s.state = state
	if run == nil {
		return "nothing\n" + s.show()
	}
	return fmt.Sprintf("%s, policy %d, attempt %d, token %d until %s\n", run.ID, run.Policy, run.Attempts, run.Lease.Token, show(run.Lease.Expires))
}

// which is the run that the arguments name, by default the active one, and the token.
func (s *script) which(d *datadriven.TestData) (driftline.TrainingID, uint64) {
	var id driftline.TrainingID
	var token uint64
	if s.state.Active != nil {
		id = s.state.Active.ID
		if s.state.Active.Lease != nil {
			token = s.state.Active.Lease.Token
		}
	}
	if text, ok := s.text(d, "run"); ok {
		id = driftline.TrainingID(text)
	}
	return id, uint64(s.number(d, "token", float64(token)))
}

func (s *script) beat(d *datadriven.TestData) string {
	id, token := s.which(d)
	state, err := trigger.Beat(s.state, id, token, s.now)
	if err != nil {
		return problem(err)
	}
	s.state = state
	return ""
}

func (s *script) expire(*datadriven.TestData) string {
	state, changed := trigger.Expire(s.policy, s.state, s.now)
	s.state = state
	if !changed {
		return "nothing\n"
	}
	return s.show()
}

func (s *script) finish(d *datadriven.TestData) string {
	id, token := s.which(d)
	result := driftline.TrainingResult{Succeeded: true, Candidate: int(s.number(d, "candidate", 0)), Rows: 100}
	if text, ok := s.text(d, "error"); ok {
		result = driftline.TrainingResult{Error: text}
	}
	state, changed, err := trigger.Finish(s.policy, s.state, id, token, result, s.now)
	if err != nil {
		return problem(err)
	}
	s.state = state
	if !changed {
		return "known\n"
	}
	return s.show()
}

func (s *script) reject(d *datadriven.TestData) string {
	run, _ := s.text(d, "run")
	s.state = trigger.Reject(s.policy, s.state, driftline.TrainingID(run), "", "worse by errors", s.now)
	return s.show()
}

func (s *script) promoted(*datadriven.TestData) string {
	s.state = trigger.Promoted(s.state)
	return ""
}

func (s *script) delete(*datadriven.TestData) string {
	state, cancelled := trigger.Delete(s.state, s.now)
	s.state = state
	var out strings.Builder
	for _, run := range cancelled {
		fmt.Fprintf(&out, "%s %s: %s\n", run.ID, run.State, run.Reason)
	}
	return out.String()
}

// due shows the slots that are due. up is since when somebody could have looked; fired takes
// them into account.
func (s *script) due(d *datadriven.TestData) string {
	up := s.now
	if text, ok := s.text(d, "up"); ok {
		up = parse(text)
	}
	slots, state := s.schedule.Due(s.state, up, s.now)
	s.state = state
	var out strings.Builder
	for i, slot := range slots {
		if len(slots) <= 6 || i < 2 || i >= len(slots)-1 {
			fmt.Fprintf(&out, "%s\n", show(slot.Time))
		} else if i == 2 {
			fmt.Fprintf(&out, "… %d in all\n", len(slots))
		}
		if d.HasArg("fired") {
			_, text := s.take(slot.Cause(s.now), "")
			out.WriteString("  " + text)
		}
	}
	if len(slots) == 0 {
		out.WriteString("none\n")
	}
	fmt.Fprintf(&out, "next %s\n", show(s.schedule.Next(&s.state, up, s.now)))
	return out.String()
}

// window is a pane with name=effect pairs.
func (s *script) window(d *datadriven.TestData) string {
	w := trigger.Window{End: s.now, Effects: map[string]float64{}}
	for _, pair := range strings.Fields(d.Input) {
		name, effect, _ := strings.Cut(pair, "=")
		if effect == "" {
			w.Drifted = append(w.Drifted, name)
			continue
		}
		v, err := strconv.ParseFloat(effect, 64)
		if err != nil {
			s.t.Fatal(err)
		}
		w.Effects[name] = v
	}
	state, cause := trigger.Drift(&s.policy.Triggers[0], s.state, &w, s.now)
	s.state = state
	if cause == nil {
		return "quiet\n"
	}
	_, out := s.take(*cause, "")
	return cause.Summary + "\n" + out
}

// metric is a window of the champion's metric, held against ref.
func (s *script) metric(d *datadriven.TestData) string {
	if d.HasArg("ref") {
		s.ref = trigger.Reference{Value: s.number(d, "ref", 0), Error: s.number(d, "ref_error", 0), Higher: !d.HasArg("lower")}
	}
	w := driftline.MetricWindow{End: s.now, Value: s.number(d, "value", 0), Error: s.number(d, "error", 0.01), Labels: int64(s.number(d, "labels", 1000))}
	t := &s.policy.Triggers[0]
	state, cause, reading := trigger.Performance(t, s.state, w, s.ref, s.now)
	s.state = state
	if why := trigger.TooFewLabels(s.policy, t, &reading, s.now); why != nil {
		return fmt.Sprintf("%s: %s\n", why.Reason, why.Detail)
	}
	if cause == nil {
		return "quiet: " + reading.Text + "\n"
	}
	_, out := s.take(*cause, "")
	return cause.Summary + "\n" + out
}

func (s *script) data(d *datadriven.TestData) string {
	snapshot, _ := s.text(d, "snapshot")
	cause := trigger.Data(&s.policy.Triggers[0], int64(s.number(d, "had", 0)), int64(s.number(d, "added", 0)), snapshot, s.now)
	if cause == nil {
		return "quiet\n"
	}
	_, out := s.take(*cause, snapshot)
	return cause.Summary + "\n" + out
}

func (s *script) show() string {
	var out strings.Builder
	for _, one := range []struct {
		what string
		run  *driftline.TrainingRun
	}{{"active", s.state.Active}, {"follows", s.state.Queued}, {"last", s.state.Last}} {
		if one.run == nil {
			continue
		}
		fmt.Fprintf(&out, "%s %s %s, %d causes", one.what, one.run.ID, one.run.State, one.run.CauseCount)
		if !one.run.NotBefore.IsZero() && !one.run.State.Ended() {
			fmt.Fprintf(&out, ", not before %s", show(one.run.NotBefore))
		}
		if one.run.Candidate != 0 {
			fmt.Fprintf(&out, ", version %d", one.run.Candidate)
		}
		if one.run.Reason != "" {
			fmt.Fprintf(&out, ": %s", one.run.Reason)
		}
		out.WriteByte('\n')
	}
	return out.String()
}

func problem(err error) string { return fmt.Sprintf("%s: %v\n", driftline.CodeOf(err), err) }

func parse(text string) time.Time {
	for _, layout := range []string{"2006-01-02T15:04", "2006-01-02T15:04:05"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t
		}
	}
	panic(text)
}

func show(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format("2006-01-02 15:04:05")
}
