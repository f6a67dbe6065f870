package web

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/driftline/driftline"
)

// storyline is a model's time line as one picture: a lane for each thing that can happen, on
// one axis of time.
//
//	weather_daily │   ▮▮▮━━━━━━━━━        ticks: panes that drifted; line: the alert
//	triggers      │      ●  ○             filled: it led to a run
//	training      │      ▬▬
//	rollouts      │         ▂▄▆█          as high as the candidate's share
//	champion      │ @1 ───────────│ @2 ──
type storyline struct {
	Width, Height int
	Left, Right   int // of the width, what the names of the lanes take, which stay when the rest is scrolled, and the rest
	Lanes         []*storyLane
	Ticks         []storyTick
}

// storyLane is one row of the picture.
type storyLane struct {
	Kind, Title string
	Full        string // the title, where it was cut
	Top, Middle float64
	TitleY      float64
	Shapes      []storyShape
}

// storyShape is a box (of a width), or a dot (of a radius), that leads to a page.
type storyShape struct {
	X, Y, Width, Height, Radius float64
	Class                       string
	URL, Text                   string
	Label                       string // within the box
	LabelX, LabelY              float64
}

type storyTick struct {
	X      float64
	Anchor string // where its text is, so that none is cut off
	Text   string
}

// The geometry of the picture.
const (
	storyWidth  = 1000
	storyLeft   = 148 // where time begins
	storyRight  = 14
	storyNames  = storyLeft - 12 // a dot at the beginning of time is drawn beside the names, not below
	storyTop    = 28             // of the first lane: the times are above it
	laneHeight  = 42
	laneInner   = 26 // what a lane's shapes may take of it
	leastBox    = 4  // so that what took a second can be seen, and met with a pointer
	mostTitle   = 19 // runes that fit beside a lane
	labelledBox = 30 // from this width on a box has its label
)

// drawStory draws what there is of a time line; a lane in which nothing happened is left out.
func drawStory(line *driftline.Timeline) *storyline {
	if len(line.Events) == 0 {
		return nil
	}
	p := &storyPainter{from: line.Events[0].Time, to: line.Until, picture: &storyline{Width: storyWidth, Left: storyNames, Right: storyWidth - storyNames}}
	if line.Since.After(p.from) {
		p.from = line.Since
	}
	p.drawMonitors(line)
	p.drawTriggers(line.Events)
	p.drawTrainings(line.Events)
	p.drawDots(line.Events, "versions", "registered", driftline.TimelineVersion)
	p.drawDots(line.Events, "evaluations", "of candidates", driftline.TimelineEvaluation)
	p.drawRollouts(line.Events)
	p.drawChampion(line.Events)
	p.drawDots(line.Events, "definitions", "policy and monitors", driftline.TimelinePolicy, driftline.TimelineGate, driftline.TimelineMonitor)
	p.drawDots(line.Events, "notices", "who is told", driftline.TimelineNotice)
	p.picture.Height = storyTop + laneHeight*len(p.picture.Lanes) + 6
	for _, at := range timeTicks(p.from, p.to) {
		tick := storyTick{X: p.x(at.time), Anchor: "middle", Text: at.text}
		if tick.X > storyWidth-storyRight-36 {
			tick.Anchor = "end"
		} else if tick.X < storyLeft+36 {
			tick.Anchor = "start"
		}
		p.picture.Ticks = append(p.picture.Ticks, tick)
	}
	return p.picture
}

type storyPainter struct {
	from, to time.Time
	picture  *storyline
}

func (p *storyPainter) x(t time.Time) float64 {
	at := min(max(fraction(float64(t.UnixMicro()), float64(p.from.UnixMicro()), float64(p.to.UnixMicro())), 0), 1)
	return math.Round(10*(storyLeft+at*(storyWidth-storyLeft-storyRight))) / 10
}

// lane begins a row; it is kept if something is drawn into it.
func (p *storyPainter) lane(kind, title string) *storyLane {
	top := float64(storyTop + laneHeight*len(p.picture.Lanes))
	lane := &storyLane{Kind: kind, Title: title, Top: top, Middle: top + laneHeight/2, TitleY: top + laneHeight/2 + 11}
	if runes := []rune(title); len(runes) > mostTitle {
		lane.Title, lane.Full = string(runes[:mostTitle-1])+"…", title
	}
	return lane
}

func (p *storyPainter) keep(lane *storyLane) {
	if len(lane.Shapes) > 0 {
		p.picture.Lanes = append(p.picture.Lanes, lane)
	}
}

// box is a shape from one time to another; no height fills the lane.
func (p *storyPainter) box(lane *storyLane, from, to time.Time, height float64) storyShape {
	x := p.x(from)
	height = cmp.Or(height, laneInner)
	return storyShape{X: x, Y: lane.Middle + laneInner/2 - height, Width: max(p.x(to)-x, leastBox), Height: height}
}

func (p *storyPainter) dot(lane *storyLane, at time.Time, radius float64) storyShape {
	return storyShape{X: p.x(at), Y: lane.Middle, Radius: radius}
}

func (p *storyPainter) end(e *driftline.TimelineEvent) time.Time {
	if e.Open {
		return p.to
	}
	return e.End
}

func (p *storyPainter) drawMonitors(line *driftline.Timeline) {
	for _, name := range line.Monitors {
		lane := p.lane("monitor", string(name))
		for i := range line.Events {
			e := &line.Events[i]
			if e.Monitor != name {
				continue
			}
			switch e.Kind {
			case driftline.TimelineAlert:
				shape := p.box(lane, e.Time, p.end(e), laneInner)
				shape.Class, shape.URL, shape.Text = "alert", eventURL(e), eventText(e)
				lane.Shapes = append(lane.Shapes, shape)
			case driftline.TimelineDrift:
				shape := p.box(lane, e.Time, e.Time, 14)
				shape.Y = lane.Middle - 7
				shape.Class, shape.URL, shape.Text = "pane "+e.State, eventURL(e), eventText(e)
				lane.Shapes = append(lane.Shapes, shape)
			}
		}
		p.keep(lane)
	}
}

// drawTriggers draws what asked for training: runs that it led to, and what was suppressed.
func (p *storyPainter) drawTriggers(events []driftline.TimelineEvent) {
	lane := p.lane("triggers", "heard, or not")
	for i := range events {
		e := &events[i]
		class := "cause"
		switch e.Kind {
		case driftline.TimelineSuppression:
			class = "suppressed"
		case driftline.TimelineTraining:
		default:
			continue
		}
		shape := p.dot(lane, e.Time, 6)
		shape.Class, shape.URL, shape.Text = class, eventURL(e), eventText(e)
		lane.Shapes = append(lane.Shapes, shape)
	}
	p.keep(lane)
}

func (p *storyPainter) drawTrainings(events []driftline.TimelineEvent) {
	lane := p.lane("training", "runs")
	for i := range events {
		if e := &events[i]; e.Kind == driftline.TimelineTraining {
			shape := p.box(lane, e.Time, p.end(e), 16)
			shape.Y = lane.Middle - 8
			shape.Class, shape.URL, shape.Text = "run "+dashed(plainWord(e.State)), eventURL(e), eventText(e)
			lane.Shapes = append(lane.Shapes, shape)
		}
	}
	p.keep(lane)
}

func (p *storyPainter) drawDots(events []driftline.TimelineEvent, kind, title string, of ...driftline.TimelineKind) {
	lane := p.lane(kind, title)
	for i := range events {
		if e := &events[i]; slices.Contains(of, e.Kind) {
			shape := p.dot(lane, e.Time, 6)
			shape.Class, shape.URL, shape.Text = string(e.Kind)+" "+dashed(plainWord(e.State)), eventURL(e), eventText(e)
			lane.Shapes = append(lane.Shapes, shape)
		}
	}
	p.keep(lane)
}

// drawRollouts draws each rollout as steps, as high as the candidate's share of the requests.
func (p *storyPainter) drawRollouts(events []driftline.TimelineEvent) {
	lane := p.lane("rollouts", "candidate's share")
	for i := range events {
		e := &events[i]
		if e.Kind != driftline.TimelineRollout {
			continue
		}
		for j, step := range e.Steps {
			until := p.end(e)
			if j+1 < len(e.Steps) {
				until = e.Steps[j+1].Time
			}
			shape := p.box(lane, step.Time, until, 3+(laneInner-3)*step.Weight/100)
			shape.Class, shape.URL = "step "+dashed(plainWord(step.Phase)), eventURL(e)
			shape.Text = fmt.Sprintf("%s, %s: %g %%: %s", e.Ref.Name, stampText(step.Time), step.Weight, cmp.Or(step.Reason, string(step.Phase)))
			lane.Shapes = append(lane.Shapes, shape)
		}
	}
	p.keep(lane)
}

// drawChampion draws which version was champion from when to when.
func (p *storyPainter) drawChampion(events []driftline.TimelineEvent) {
	lane := p.lane("champion", "who answers")
	var moves []*driftline.TimelineEvent
	for i := range events {
		if e := &events[i]; e.Kind == driftline.TimelineAlias && e.Alias == driftline.AliasChampion {
			moves = append(moves, e)
		}
	}
	for i, e := range moves {
		until := p.to
		if i+1 < len(moves) {
			until = moves[i+1].Time
		}
		if e.Version == 0 {
			continue // removed
		}
		shape := p.box(lane, e.Time, until, 20)
		shape.Y = lane.Middle - 10
		shape.Class, shape.URL, shape.Text = "reign "+lineClass(e.Version%5), eventURL(e), eventText(e)
		if e.State == "rolled back" {
			shape.Class += " back"
		}
		if shape.Width >= labelledBox {
			shape.Label, shape.LabelX, shape.LabelY = fmt.Sprintf("@%d", e.Version), shape.X+8, lane.Middle+4.5
		}
		lane.Shapes = append(lane.Shapes, shape)
	}
	p.keep(lane)
}

// eventText is what a pointer over an event is told.
func eventText(e *driftline.TimelineEvent) string {
	what := stampText(e.Time)
	if !e.End.IsZero() {
		what += " – " + stampText(e.End)
	}
	return fmt.Sprintf("%s %s, %s: %s", e.Kind, plainWord(e.State), what, e.Text)
}

type timeTick struct {
	time time.Time
	text string
}

// tickSteps are the distances that times on an axis may have.
var tickSteps = []struct {
	length time.Duration
	layout string
}{
	{time.Second, "15:04:05"}, {5 * time.Second, "15:04:05"}, {15 * time.Second, "15:04:05"}, {time.Minute, "15:04"}, {5 * time.Minute, "15:04"},
	{15 * time.Minute, "15:04"}, {time.Hour, "Jan 2 15:04"}, {3 * time.Hour, "Jan 2 15:04"}, {6 * time.Hour, "Jan 2 15:04"},
	{12 * time.Hour, "Jan 2 15:04"}, {24 * time.Hour, "2006-01-02"}, {2 * 24 * time.Hour, "2006-01-02"}, {7 * 24 * time.Hour, "2006-01-02"},
	{14 * 24 * time.Hour, "2006-01-02"}, {28 * 24 * time.Hour, "2006-01-02"}, {91 * 24 * time.Hour, "2006-01-02"}, {365 * 24 * time.Hour, "2006-01-02"},
	{5 * 365 * 24 * time.Hour, "2006"},
}

// mostTicks is how many times fit on the axis.
const mostTicks = 7

// timeTicks are times of one distance from each other, in UTC.
func timeTicks(from, to time.Time) (ticks []timeTick) {
	for _, step := range tickSteps {
		if to.Sub(from)/step.length > mostTicks {
			continue
		}
		for at := from.UTC().Truncate(step.length); !at.After(to); at = at.Add(step.length) {
			if !at.Before(from) {
				ticks = append(ticks, timeTick{at, at.Format(step.layout)})
			}
		}
		return ticks
	}
	return []timeTick{{from, stampText(from)}, {to, stampText(to)}}
}
