package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"runtime/debug"
	"strings"
	"time"

	"farshore/integration/fakecloud"
)

// The emulated regions' names, source and destination.
const (
	sourceName = "one"
	copyName   = "two"
)

// serveOptions say how the regions of a serve process are reached.
type serveOptions struct {
	Relay bool // through relays, which also meter
	Path  path
}

// served is what a serve process says when it is ready.
type served struct {
	Regions map[string]servedRegion
}

type servedRegion struct {
	AuthURL, StorageURL string
	Through             string // the storage URL through the relay, if there is one
}

// order is one line to a serve process, reply its answer.
type order struct {
	Do        string // synthetic, fill, change, drop, link, counters, meter
	Region    string
	Container string
	Count     int
	Size      int64
	Stride    int           // change: every so many-th object
	Latency   time.Duration // link
	Bandwidth int64         // link
}

type reply struct {
	Error    string
	Requests int64
	Kinds    map[string]int64 // requests by "class.METHOD"
	Moments  []int64          // meter: bytes sent until each moment since the last meter order
}

// meterEvery is the time between two moments of a meter.
const meterEvery = 20 * time.Millisecond

// serveMain emulates two regions in a process of their own, so that what they use is
// not counted against whom they serve. It ends with its standard input.
func serveMain(options string) (err error) {
	var o serveOptions
	if err := json.Unmarshal([]byte(options), &o); err != nil {
		return fmt.Errorf("read options: %w", err)
	}
	cloud, err := fakecloud.Start(fakecloud.Options{TokenLife: 48 * time.Hour,
		Regions: []fakecloud.RegionOptions{{Name: sourceName}, {Name: copyName}}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cloud.Close()) }()
	s := &server{cloud: cloud, relays: map[string]*relay{}}
	ready := served{Regions: map[string]servedRegion{}}
	for _, r := range cloud.Regions() {
		x := servedRegion{AuthURL: r.AuthURL(), StorageURL: r.StorageURL()}
		if o.Relay {
			u, err := url.Parse(r.StorageURL())
			if err != nil {
				return err
			}
			way, err := newRelay(u.Host, o.Path)
			if err != nil {
				return fmt.Errorf("start relay: %w", err)
			}
			defer func() { _ = way.Close() }()
			s.relays[r.Name()] = way
			u.Host = way.addr()
			x.Through = u.String()
		}
		ready.Regions[r.Name()] = x
	}
	out := json.NewEncoder(os.Stdout)
	if err := out.Encode(ready); err != nil {
		return err
	}
	in := json.NewDecoder(os.Stdin)
	for {
		var q order
		if err := in.Decode(&q); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		a, err := s.obey(q)
		if err != nil {
			a.Error = err.Error()
		}
		if err := out.Encode(a); err != nil {
			return err
		}
	}
}

type server struct {
	cloud  *fakecloud.Cloud
	relays map[string]*relay
	meter  *meter
}

func (s *server) obey(q order) (reply, error) {
	r := s.cloud.Region(q.Region)
	if r == nil {
		return reply{}, fmt.Errorf("no region %q", q.Region)
	}
	switch q.Do {
	case "synthetic":
		return reply{}, r.SetSynthetic(q.Container, fakecloud.Synthetic{Count: q.Count, Seed: 1, Size: func(int) int64 { return q.Size }})
	case "fill":
		for i := range q.Count {
			r.Put(q.Container, objectName(i), random(uint64(i), q.Size), nil)
		}
	case "change":
		for i := range q.Count {
			r.Put(q.Container, objectName(i*q.Stride), random(uint64(i)+1<<32, q.Size), nil)
		}
	case "drop":
		r.DeleteContainer(q.Container)
		debug.FreeOSMemory()
	case "link":
		r.SetLatency(q.Latency)
		r.SetBandwidth(q.Bandwidth)
	case "counters":
		a := reply{Kinds: map[string]int64{}}
		for k, c := range settled(r) {
			a.Kinds[string(k.Class)+"."+k.Method] = c.Requests
			a.Requests += c.Requests
		}
		return a, nil
	case "meter":
		way := s.relays[q.Region]
		if way == nil {
			return reply{}, fmt.Errorf("no relay before %s", q.Region)
		}
		var a reply
		if s.meter != nil {
			a.Moments = s.meter.stop()
		}
		s.meter = newMeter(way)
		return a, nil
	default:
		return reply{}, fmt.Errorf("no such order: %q", q.Do)
	}
	return reply{}, nil
}

// settled gives the counters once they stand still: a request counts when its
// handling ends, which may be after its client has gone.
func settled(r *fakecloud.Region) fakecloud.Counters {
	const still, tries = 20 * time.Millisecond, 100
	last := r.Counters()
	for range tries {
		time.Sleep(still)
		now := r.Counters()
		if now.Total() == last.Total() {
			break
		}
		last = now
	}
	return last
}

// objectName is fakecloud's own for object i of a synthetic container.
func objectName(i int) string { return fmt.Sprintf("o%09d", i) }

// random bytes, the same for the same seed.
func random(seed uint64, size int64) []byte {
	b := make([]byte, size)
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	_, _ = rand.NewChaCha8(key).Read(b) // never fails
	return b
}

// meter notes how much has been sent through a relay, moment by moment.
type meter struct {
	end  chan struct{}
	seen chan []int64
}

func newMeter(r *relay) *meter {
	m := &meter{end: make(chan struct{}), seen: make(chan []int64)}
	go func() {
		base := r.sent.Load()
		moments := []int64{0}
		tick := time.NewTicker(meterEvery)
		defer tick.Stop()
		began := time.Now()
		for {
			select {
			case <-m.end:
				m.seen <- moments
				return
			case now := <-tick.C:
				// A ticker that is late drops ticks: the moments keep their places.
				for at := int(now.Sub(began) / meterEvery); len(moments) < at; {
					moments = append(moments, moments[len(moments)-1])
				}
				moments = append(moments, r.sent.Load()-base)
			}
		}
	}()
	return m
}

func (m *meter) stop() []int64 {
	close(m.end)
	return <-m.seen
}

// fastest is the most that was sent within any window of so many moments, in bytes.
func fastest(moments []int64, window int) int64 {
	most := int64(0)
	for i := range moments {
		most = max(most, moments[min(i+window, len(moments)-1)]-moments[i])
	}
	return most
}

// cloudProcess is a serve process as its parent sees it.
type cloudProcess struct {
	served
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// startCloud runs this very program again, as a serve process.
func startCloud(ctx context.Context, o serveOptions) (*cloudProcess, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	options, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	p := &cloudProcess{cmd: exec.CommandContext(ctx, self, "serve", string(options))}
	p.cmd.Stderr = os.Stderr
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewReader(out)
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start emulated regions: %w", err)
	}
	if err := p.read(&p.served); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

func (p *cloudProcess) read(v any) error {
	line, err := p.out.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("the emulated regions ended: %w", err)
	}
	return json.Unmarshal(line, v)
}

func (p *cloudProcess) tell(q order) (reply, error) {
	var a reply
	if err := json.NewEncoder(p.in).Encode(q); err != nil {
		return a, fmt.Errorf("tell the emulated regions: %w", err)
	}
	if err := p.read(&a); err != nil {
		return a, err
	}
	if a.Error != "" {
		return a, fmt.Errorf("emulated region: %s: %s", q.Do, strings.TrimSpace(a.Error))
	}
	return a, nil
}

func (p *cloudProcess) close() error {
	return errors.Join(p.in.Close(), p.cmd.Wait())
}
