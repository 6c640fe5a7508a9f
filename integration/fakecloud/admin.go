package fakecloud

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"
)

// serveAdmin is the JSON control under /_fake/ on a region's Swift port, for
// programs in another process. It needs no token and is not counted.
//
//	GET  counters            {"object.GET": {"requests":…,"in":…,"out":…,"failed":…}, …}
//	POST reset               forgets counters and request log
//	POST log {"on":true}     turns the request log on or off; GET log returns it
//	POST faults {Fault}      adds one (Match and Action fields); answers {"id":n}
//	GET  faults              [{"id","name","kind","seen","struck"}]
//	DELETE faults            clears them
//	POST corrupt {"container","name"}
//	POST put {"container","name","data"}        data as text
//	POST synthetic {"container","count","seed","size","prefix","dir"}
//	POST link {"latency_ms","bandwidth"}
//	POST lag {"ms"}          -1: until flush; POST flush
//	POST expire-tokens
//	GET  block                                  what Cinder has: [BlockResource]
//	POST block-faults {BlockFault}              adds one; answers {"id":n}
//	POST block-write {"id","offset","seed","size"}  writes to a volume as a guest would;
//	                                            seed 0 writes zeros
//	POST block-sum {"id"}                       SHA-256 of a volume's bytes
func (r *Region) serveAdmin(w http.ResponseWriter, hr *http.Request, path string) {
	var in struct {
		On        bool    `json:"on"`
		Container string  `json:"container"`
		Name      string  `json:"name"`
		Data      string  `json:"data"`
		Count     int     `json:"count"`
		Seed      int64   `json:"seed"`
		Size      int64   `json:"size"`
		Prefix    string  `json:"prefix"`
		Dir       int     `json:"dir"`
		LatencyMS float64 `json:"latency_ms"`
		Bandwidth int64   `json:"bandwidth"`
		MS        int64   `json:"ms"`
		ID        string  `json:"id"`
		Offset    int64   `json:"offset"`
	}
	what := hr.Method + " " + strings.TrimPrefix(path, "/_fake/")
	if what == "POST faults" {
		r.adminFault(w, hr)
		return
	}
	if what == "POST block-faults" && r.block != nil {
		r.adminBlockFault(w, hr)
		return
	}
	if hr.Method == http.MethodPost && hr.ContentLength != 0 {
		if err := json.NewDecoder(hr.Body).Decode(&in); err != nil {
			adminReply(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
			return
		}
	}
	var out any = map[string]bool{"ok": true}
	code := http.StatusOK
	switch what {
	case "GET counters":
		m := map[string]Count{}
		for k, c := range r.Counters() {
			m[string(k.Class)+"."+k.Method] = c
		}
		out = m
	case "POST reset":
		r.ResetCounters()
		r.LogRequests(r.log.on.Load())
	case "POST log":
		r.LogRequests(in.On)
	case "GET log":
		out = r.Requests()
	case "GET faults":
		out = r.faultStates()
	case "DELETE faults":
		r.ClearFaults()
	case "POST corrupt":
		if !r.Corrupt(in.Container, in.Name) {
			code, out = http.StatusNotFound, map[string]string{"error": "nothing to damage there"}
		}
	case "POST put":
		r.Put(in.Container, in.Name, []byte(in.Data), nil)
	case "POST synthetic":
		s := Synthetic{Count: in.Count, Seed: in.Seed, Prefix: in.Prefix, Dir: in.Dir}
		if in.Size > 0 {
			s.Size = func(int) int64 { return in.Size }
		}
		if err := r.SetSynthetic(in.Container, s); err != nil {
			code, out = http.StatusConflict, map[string]string{"error": err.Error()}
		}
	case "POST link":
		r.SetLatency(time.Duration(in.LatencyMS * float64(time.Millisecond)))
		r.SetBandwidth(in.Bandwidth)
	case "POST lag":
		d := time.Duration(in.MS) * time.Millisecond
		if in.MS < 0 {
			d = Forever
		}
		r.SetListingLag(d)
	case "POST flush":
		r.FlushListings()
	case "POST expire-tokens":
		r.ExpireTokens()
	case "GET block", "POST block-write", "POST block-sum":
		code, out = r.adminBlock(what, in.ID, in.Offset, in.Seed, in.Size)
	default:
		code, out = http.StatusNotFound, map[string]string{"error": "no such control: " + what}
	}
	adminReply(w, code, out)
}

func (r *Region) adminFault(w http.ResponseWriter, hr *http.Request) {
	var f Fault
	dec := json.NewDecoder(hr.Body)
	dec.DisallowUnknownFields()
	err := dec.Decode(&f)
	switch f.Do.Kind {
	case kindStatus, kindDelay, kindReset, kindStall, kindStallReply, kindStallBody, kindTruncate, kindTruncateBody,
		kindFlip, kindFlipBody, kindLie, kindLose, kindHang:
	default:
		adminReply(w, http.StatusBadRequest, map[string]string{"error": "unknown kind of fault: " + f.Do.Kind})
		return
	}
	if err != nil {
		adminReply(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
		return
	}
	adminReply(w, http.StatusOK, map[string]int{"id": r.AddFault(f)})
}

// FaultState is a fault with its counts.
type FaultState struct {
	ID     int    `json:"id"`
	Name   string `json:"name"`
	Kind   string `json:"kind"`
	Seen   int    `json:"seen"`   // requests that matched
	Struck int    `json:"struck"` // requests it befell
}

func (r *Region) faultStates() []FaultState {
	r.faults.mu.Lock()
	defer r.faults.mu.Unlock()
	out := []FaultState{}
	for _, a := range r.faults.all {
		out = append(out, FaultState{a.id, a.Name, a.Do.Kind, a.seen, a.struck})
	}
	return out
}

func adminReply(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	// A client that has gone needs no answer.
	_ = json.NewEncoder(w).Encode(v)
}
