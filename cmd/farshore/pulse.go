package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"farshore/replicator/control"
	"farshore/store"
)

// A daemon is looked at every pulseEvery, or more often where the service manager wants
// to hear of it sooner. It is not alive when its ledger takes longer than pulsePatience,
// or its schedule was not looked at for that long: the scheduler does so every 30 s.
const (
	pulseEvery    = 30 * time.Second
	pulsePatience = 2 * time.Minute
)

// heart is a schedule that can be seen to beat.
type heart interface {
	Looked() time.Time // when it looked last for what is due
	Tasks() []control.Task
}

// pulse looks again and again whether a daemon is alive, by what it needs for its work: a
// ledger whose writer answers, and a schedule that is looked at. It tells the service
// manager, which ends and starts anew what hangs, and whoever asks /healthz.
type pulse struct {
	manager *manager
	ledger  interface{ Flush(context.Context) error }
	log     *slog.Logger
	now     func() time.Time
	news    chan struct{} // there is another schedule to tell of

	mu    sync.Mutex
	heart heart // nil: no schedule yet
	down  []string
	last  time.Time // when it was looked at last
	err   error     // why it was not alive then
	said  string
}

func newPulse(m *manager, ledger interface{ Flush(context.Context) error }, log *slog.Logger) *pulse {
	return &pulse{manager: m, ledger: ledger, log: log, now: time.Now, news: make(chan struct{}, 1), last: time.Now()}
}

// follow says whose schedule is looked at from now on, and which regions it has to do without.
func (p *pulse) follow(h heart, down []string) {
	p.mu.Lock()
	p.heart, p.down = h, down
	p.mu.Unlock()
	select {
	case p.news <- struct{}{}:
	default:
	}
}

// start looks until the function it gives is called.
func (p *pulse) start(ctx context.Context) (stop func()) {
	ctx, stop = context.WithCancel(ctx)
	every := pulseEvery
	if w := p.manager.watchdog; w > 0 {
		every = min(every, w/3)
	}
	go func() {
		t := time.NewTicker(every)
		defer t.Stop()
		for {
			p.beat(ctx)
			select {
			case <-ctx.Done():
				return
			case <-t.C:
			case <-p.news:
			}
		}
	}()
	return stop
}

// beat looks once. It may hang with what it looks at; then nothing is told either, which
// says enough.
func (p *pulse) beat(ctx context.Context) {
	tasks, down, full, err := p.look(ctx)
	if ctx.Err() != nil {
		return
	}
	p.mu.Lock()
	was := p.err
	p.last, p.err = p.now(), err
	p.mu.Unlock()
	switch {
	case err != nil:
		p.log.Error("not alive", "err", err, "hint", "a service manager with a watchdog starts farshore anew; without one, restart it")
		p.say("not alive: " + err.Error())
		return
	case was != nil:
		p.log.Info("alive again")
	}
	p.manager.tell("WATCHDOG=1")
	line := statusLine(tasks, down)
	if full {
		line = "no space left for the ledger: nothing is begun; " + line
	}
	p.say(line)
}

func (p *pulse) look(ctx context.Context) (tasks []control.Task, down []string, full bool, err error) {
	p.mu.Lock()
	h, down := p.heart, p.down
	p.mu.Unlock()
	asked, done := context.WithTimeout(ctx, pulsePatience)
	defer done()
	// A full disk is no reason to begin anew: the keeper goes on once there is room.
	err = p.ledger.Flush(asked)
	full = errors.Is(err, store.ErrFull)
	if err != nil && !full {
		return nil, nil, false, fmt.Errorf("write the ledger: %w", err)
	}
	if h == nil {
		return nil, down, full, nil
	}
	if ago := p.now().Sub(h.Looked()); ago > pulsePatience {
		return nil, nil, false, fmt.Errorf("the schedule was looked at %s ago, which is due every %s", ago.Round(time.Second), pulseEvery)
	}
	return h.Tasks(), down, full, nil
}

// say gives the service manager a status line that it has not heard yet.
func (p *pulse) say(line string) {
	p.mu.Lock()
	news := line != p.said
	p.said = line
	p.mu.Unlock()
	if news {
		p.manager.status(line)
	}
}

// health is why the daemon is not alive, as it was seen at last; nil: it is.
func (p *pulse) health() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return p.err
	}
	if ago := p.now().Sub(p.last); ago > pulsePatience+2*pulseEvery {
		return errors.New("no sign of life for " + ago.Round(time.Second).String())
	}
	return nil
}

// ServeHTTP is /healthz: 200 while the daemon is alive.
func (p *pulse) ServeHTTP(rw http.ResponseWriter, _ *http.Request) {
	if err := p.health(); err != nil {
		http.Error(rw, "not alive: "+err.Error(), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(rw, "alive")
}

// statusLine is a schedule in a line: what runs, what failed, what is next. Before there
// is a schedule, the regions are logged in to.
func statusLine(tasks []control.Task, down []string) string {
	if len(tasks) == 0 {
		return "logging in to the regions"
	}
	policies, running, failed := map[string]bool{}, []string{}, int64(0)
	var next *control.Task
	for i, t := range tasks {
		policies[t.Policy] = true
		if t.Running {
			running = append(running, t.Policy+" "+t.Kind)
		}
		if t.Error != "" && !t.Running {
			failed++
		}
		if !t.Next.IsZero() && (next == nil || t.Next.Before(next.Next)) {
			next = &tasks[i]
		}
	}
	parts := []string{count(int64(len(policies)), "policy")}
	if len(running) > 0 {
		parts = append(parts, "at work: "+strings.Join(running, ", "))
	}
	if failed > 0 {
		parts = append(parts, count(failed, "task")+" failed")
	}
	if len(down) > 0 {
		parts = append(parts, "down: "+strings.Join(down, ", "))
	}
	if next != nil {
		parts = append(parts, "next: "+next.Policy+" "+next.Kind+" at "+timeOf(next.Next))
	}
	return strings.Join(parts, "; ")
}
