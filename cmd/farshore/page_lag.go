package main

import (
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"farshore/replicator/daemon"
	"farshore/replicator/page"
	"farshore/replicator/report"
)

// Lag is looked at every lagEvery and kept for lagDay; the highest of each lagSpan is kept
// for lagLong, in the ledger too. A daemon that is killed loses a lagSpan of it.
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
	open   lagSample   // the span under way
	unkept bool        // Day has what is not in the ledger
}

// lagSample is a time in seconds since 1970, and seconds of lag.
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
		h.lanes[key] = l
	}
	return l
}

// add takes what the lags are now.
func (h *lagHistory) add(now time.Time, lags []report.Lag) {
	h.mu.Lock()
	defer h.mu.Unlock()
	at := float64(now.Unix())
	for _, x := range lags {
		l := h.lane(x.Policy, x.Region)
		l.Day = append(recent(l.Day, now, lagDay), lagSample{at, x.Seconds})
		l.unkept = true
		span := float64(now.Truncate(lagSpan).Unix())
		if l.open[0] != span {
			if l.open[0] != 0 {
				l.Long = append(recent(l.Long, now, lagLong), l.open)
				h.keep(x.Policy, x.Region, l)
			}
			l.open = lagSample{span, x.Seconds}
		}
		l.open[1] = max(l.open[1], x.Seconds)
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

// save keeps what is not kept yet, of the lags given.
func (h *lagHistory) save(lags []report.Lag) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, x := range lags {
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
	return samples(l.Day), samples(l.Long)
}

func samples(all []lagSample) []page.Sample {
	out := make([]page.Sample, len(all))
	for i, s := range all {
		out[i] = page.Sample{At: time.Unix(int64(s[0]), 0).UTC(), Value: s[1]}
	}
	return out
}
