package main

import (
	"encoding/json"
	"fmt"
	"math"
	"sync"
	"time"

	"farshore/replicator/daemon"
	"farshore/replicator/lag"
	"farshore/replicator/page"
)

// The highest lag of each lagEvery is kept for lagDay, that of each lagSpan for lagLong, in
// the ledger too. A daemon that is killed loses a lagSpan of it: to write it all down each
// minute would be most of what an idle daemon writes. What is lost is a hole in the chart.
const (
	lagEvery = time.Minute
	lagSpan  = 15 * time.Minute
	lagDay   = 24 * time.Hour
	lagLong  = 14 * 24 * time.Hour
)

// lagHistory keeps how far policies were behind, for the charts of the page.
type lagHistory struct {
	memory daemon.Memory

	mu    sync.Mutex
	lanes map[string]*lane // by key
	err   error            // why the last save failed
}

// lane is the lag of one policy at one region.
type lane struct {
	Day    []lagSample `json:"day"`
	Long   []lagSample `json:"long"`
	open   lagSample   // the span under way, of which Day has the samples
	unkept bool        // Day has what is not in the ledger
}

// lagSample is a time in seconds since 1970, and the highest lag in seconds, of what ended
// then or, of a span, began then.
type lagSample [2]float64

func newLagHistory(memory daemon.Memory) *lagHistory {
	return &lagHistory{memory: memory, lanes: map[string]*lane{}}
}

func laneKey(policy, region string) string { return "lag-history/" + policy + "\x00" + region }

// lane gives the history of one; h.mu is held. One that cannot be read begins anew.
func (h *lagHistory) lane(policy, region string) *lane {
	key := laneKey(policy, region)
	l := h.lanes[key]
	if l == nil {
		l = &lane{}
		if text, ok, err := h.memory.Note(key); err != nil {
			h.err = fmt.Errorf("read the history of lag: %w", err)
		} else if ok && json.Unmarshal(text, l) != nil {
			*l = lane{}
		}
		l.reopen()
		h.lanes[key] = l
	}
	return l
}

// reopen begins the span again that was under way when the lane was written down.
func (l *lane) reopen() {
	kept := 0.0
	if n := len(l.Long); n > 0 {
		kept = l.Long[n-1][0]
	}
	for _, s := range l.Day {
		if spanOf(s[0]) > kept {
			l.fold(s)
		}
	}
}

func spanOf(at float64) float64 { return at - math.Mod(at, lagSpan.Seconds()) }

// fold adds a sample to the span under way, and tells whether that ended another one.
func (l *lane) fold(s lagSample) (ended bool) {
	span := spanOf(s[0])
	if l.open[0] != span {
		if ended = l.open[0] != 0; ended {
			l.Long = append(l.Long, l.open)
		}
		l.open = lagSample{span, 0}
	}
	l.open[1] = max(l.open[1], s[1])
	return ended
}

// add takes the highest lags since it was called last.
func (h *lagHistory) add(now time.Time, peaks []lag.Peak) {
	h.mu.Lock()
	defer h.mu.Unlock()
	at := float64(now.Unix())
	for _, x := range peaks {
		l := h.lane(x.Policy, x.Region)
		l.Day = append(recent(l.Day, now, lagDay), lagSample{at, x.Seconds})
		l.Long = recent(l.Long, now, lagLong)
		l.unkept = true
		if l.fold(lagSample{at, x.Seconds}) {
			h.keep(x.Policy, x.Region, l)
		}
	}
}

// recent leaves out what is too old, or of a future that a clock set back has made.
func recent(all []lagSample, now time.Time, age time.Duration) []lagSample {
	for len(all) > 0 && all[0][0] < float64(now.Add(-age).Unix()) {
		all = all[1:]
	}
	for len(all) > 0 && all[len(all)-1][0] > float64(now.Unix()) {
		all = all[:len(all)-1]
	}
	return all
}

func (h *lagHistory) keep(policy, region string, l *lane) {
	text, err := json.Marshal(l)
	if err == nil {
		err = h.memory.PutNote(laneKey(policy, region), text)
	}
	if err != nil {
		h.err = fmt.Errorf("keep the history of lag: %w", err)
		return
	}
	l.unkept, h.err = false, nil
}

// save keeps what is not kept yet, of the policies and regions given.
func (h *lagHistory) save(peaks []lag.Peak) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, x := range peaks {
		if l := h.lane(x.Policy, x.Region); l.unkept {
			h.keep(x.Policy, x.Region, l)
		}
	}
}

// of gives the samples of one policy at one region.
func (h *lagHistory) of(policy, region string) (day, long []page.Sample) {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.lane(policy, region)
	return samples(l.Day, 5*lagEvery/2), samples(l.Long, 3*lagSpan/2)
}

// samples have a hole where there is none for longer than the time given: nobody measured,
// or it was lost. (A minute that a busy machine left out is in the one after it.)
func samples(all []lagSample, hole time.Duration) []page.Sample {
	out := make([]page.Sample, len(all))
	for i, s := range all {
		out[i] = page.Sample{At: time.Unix(int64(s[0]), 0).UTC(), Value: s[1]}
		out[i].Hole = i > 0 && s[0]-all[i-1][0] > hole.Seconds()
	}
	return out
}
