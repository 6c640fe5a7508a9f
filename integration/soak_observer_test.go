//go:build integration

package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"farshore/integration/lab"
)

// observer knows what the writers did when, reads what region two shows, and reads in the regions' own logs when the
// source was looked at. From that it computes what lag is, and compares it with what the daemon said at that time.
type observer struct {
	t    *testing.T
	soak *soak
	two  *lab.Client
	v    *volumes

	marks map[string]int64 // where the regions' logs began

	mu      sync.Mutex
	samples []sample
	shown   map[place]map[int]time.Time // when region two got a change, by its own clock
	landed  map[string]landing          // by backup
	last    time.Time                   // of the last complete reading of backups
	reads   int
}

// landing is between which two readings a backup came to stand in region two.
type landing struct{ after, by time.Time }

func newObserver(t *testing.T, s *soak, two *lab.Client, v *volumes) *observer {
	return &observer{t: t, soak: s, two: two, v: v, marks: map[string]int64{}, shown: map[place]map[int]time.Time{}, landed: map[string]landing{}}
}

func (o *observer) mark() {
	for _, alias := range []string{"one", "two"} {
		o.marks[alias] = mark(o.t, swiftLog(o.soak.lab, alias))
	}
	o.last = time.Now()
}

// run reads and samples until the test ends.
func (o *observer) run() {
	var wg sync.WaitGroup
	quit := make(chan struct{})
	o.t.Cleanup(func() { close(quit); wg.Wait() })
	each := func(what func()) {
		wg.Go(func() {
			ticks := time.NewTicker(soakSample)
			defer ticks.Stop()
			for {
				what()
				select {
				case <-quit:
					return
				case <-ticks.C:
				}
			}
		})
	}
	each(func() {
		if s, ok := o.soak.daemon.sample(); ok {
			o.mu.Lock()
			o.samples = append(o.samples, s)
			o.mu.Unlock()
		}
	})
	each(o.readObjects)
	each(o.readBackups)
}

// peek asks a region that may be away.
func peek(c *lab.Client, path string) ([]byte, error) {
	req, err := http.NewRequest(http.MethodGet, c.URL+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("X-Auth-Token", c.Token())
	resp, err := bare.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	return body, err
}

func (o *observer) readObjects() {
	for _, c := range o.soak.writer.containers {
		var rows []lab.Entry
		if body, err := peek(o.two, lab.Path(c+"-copy")+"?format=json"); err != nil || json.Unmarshal(body, &rows) != nil {
			continue
		}
		o.mu.Lock()
		o.reads++
		for _, r := range rows {
			at, err := time.Parse("2006-01-02T15:04:05.999999", r.LastModified)
			if n := numbered(r.ContentType); err == nil && n > 0 {
				p := place{c, r.Name}
				if o.shown[p] == nil {
					o.shown[p] = map[int]time.Time{}
				}
				if old, ok := o.shown[p][n]; !ok || at.Before(old) {
					o.shown[p][n] = at
				}
			}
		}
		o.mu.Unlock()
	}
}

func (o *observer) readBackups() {
	began := time.Now()
	var doc struct {
		Backups []struct{ ID, Status string }
	}
	if body, err := peek(o.v.two.Client, "/backups/detail"); err != nil || json.Unmarshal(body, &doc) != nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, b := range doc.Backups {
		if _, known := o.landed[b.ID]; !known && b.Status == "available" {
			o.landed[b.ID] = landing{after: o.last, by: time.Now()}
		}
	}
	o.last = began
}

// missing is what has not arrived yet, as the observer sees it and as the daemon says.
func (o *observer) missing() string {
	for _, c := range o.soak.writer.containers {
		var rows []lab.Entry
		body, err := peek(o.two, lab.Path(c+"-copy")+"?format=json")
		if err == nil {
			err = json.Unmarshal(body, &rows)
		}
		if err != nil {
			return err.Error()
		}
		want := o.soak.writer.stand(c)
		for _, r := range rows {
			if numbered(r.ContentType) != want[r.Name] {
				return fmt.Sprintf("%s/%s shows change %d, not %d", c, r.Name, numbered(r.ContentType), want[r.Name])
			}
			delete(want, r.Name)
		}
		for name, n := range want {
			return fmt.Sprintf("%s/%s lacks change %d", c, name, n)
		}
	}
	points := o.points()
	for _, x := range o.soak.block.snapshots {
		if p := points[x.id]; p == "" || o.landing(p).by.IsZero() {
			return fmt.Sprintf("snapshot %s (backup %q) has not landed", x.id, p)
		}
	}
	s, ok := o.soak.daemon.sample()
	if !ok || s.series == nil {
		return "the daemon does not answer"
	}
	for _, policy := range []string{"objects", "vols"} {
		for _, name := range []string{"lag_known_seconds", "waiting_items", "stuck_items"} {
			if v, ok := s.series[lagSeries(name, policy)]; !ok || v != 0 {
				return fmt.Sprintf("%s is %v", lagSeries(name, policy), v)
			}
		}
	}
	return ""
}

func (o *observer) landing(backup string) landing {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.landed[backup]
}

// points are the source's available backups of the volume, by snapshot.
func (o *observer) points() map[string]string {
	var doc struct {
		Backups []struct {
			ID, Status string
			Snapshot   string `json:"snapshot_id"`
		}
	}
	out := map[string]string{}
	if body, err := peek(o.v.one.Client, "/backups/detail"); err == nil && json.Unmarshal(body, &doc) == nil {
		for _, b := range doc.Backups {
			if b.Status == "available" {
				out[b.Snapshot] = b.ID
			}
		}
	}
	return out
}

// logged is a line of a proxy's log: a request that farshore made.
type logged struct {
	method, path string // path without the account and the query, not escaped
	status       string
	began, ended time.Time
}

// requests are those that a region's proxy logged since the soak began.
func (o *observer) requests(alias string) (all []logged) {
	text, err := os.ReadFile(swiftLog(o.soak.lab, alias))
	if err != nil {
		o.t.Fatal(err)
	}
	for line := range strings.Lines(string(text[o.marks[alias]:])) {
		f := strings.Fields(line)
		if len(f) < 22 || !strings.HasPrefix(f[9], "farshore/") {
			continue
		}
		asked, err := url.PathUnescape(f[5]) // Swift quotes what was asked for once more
		if err != nil {
			o.t.Fatal(err)
		}
		path, _, _ := strings.Cut(asked, "?")
		parts := strings.SplitN(path, "/", 4) // "", v1, account, the rest
		if len(parts) < 4 {
			continue
		}
		name, err := url.PathUnescape(parts[3])
		if err != nil {
			o.t.Fatal(err)
		}
		all = append(all, logged{method: f[4], path: name, status: f[7], began: epoch(f[19]), ended: epoch(f[20])})
	}
	return all
}

func epoch(s string) time.Time {
	f, _ := strconv.ParseFloat(s, 64)
	return time.Unix(0, int64(f*1e9))
}

// looks are the source's listings of a container, the oldest first.
func looks(requests []logged, container string) (all []logged) {
	for _, r := range requests {
		if r.method == http.MethodGet && r.path == container && r.status == "200" {
			all = append(all, r)
		}
	}
	slices.SortFunc(all, func(a, b logged) int { return a.began.Compare(b.began) })
	return all
}

// band is what a figure may be: as the observer does not know everything to the moment, a lowest and a highest value, in
// seconds. Both are the same where nothing is in doubt.
type band struct{ low, high float64 }

// off is how far a figure is outside of it.
func (b band) off(v float64) float64 { return max(b.low-v, v-b.high, 0) }

// give is what a figure may be off: 5 %, or one poll and two seconds.
func give(v float64, poll time.Duration) float64 {
	return math.Max(0.05*v, poll.Seconds()+2)
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
