package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"farshore/replicator/report"
)

// watched is what Prometheus and load balancers are told of a daemon: docs/metrics.md
// lists the names. It is read where it stands, at each scrape.
type watched struct {
	session *session
	life    http.Handler // /healthz

	mu       sync.Mutex
	crew     *crew // nil: not at work
	replicas map[string]report.Replicas
}

func newWatched(s *session, life http.Handler) *watched {
	return &watched{session: s, life: life, replicas: map[string]report.Replicas{}}
}

// at says who works now; what gone policies had is forgotten.
func (w *watched) at(x *crew) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.crew = x
	if x == nil {
		return
	}
	there := map[string]bool{}
	for _, t := range x.work.tasks {
		there[t.policy.Name] = true
	}
	for name := range w.replicas {
		if !there[name] {
			delete(w.replicas, name)
		}
	}
}

// counted keeps what the last run that looked at everything counted.
func (w *watched) counted(policy string, r report.Replicas) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r.Wanted > 0 || r.Satisfied { // else it came to no judgement: the one before stands
		w.replicas[policy] = r
	}
}

// Describe implements prometheus.Collector: which series there are depends on the policy
// file, so nothing is promised beforehand.
func (w *watched) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (w *watched) Collect(out chan<- prometheus.Metric) {
	st := w.session.Status()
	w.mu.Lock()
	defer w.mu.Unlock()
	c := collector{out: out}
	c.gauge("build_info", "1, with the version as a label.", 1, "version", version)
	if info, err := os.Stat(st.Ledger); err == nil {
		c.gauge("ledger_bytes", "Size of the ledger's file.", float64(info.Size()))
	}
	c.gauge("ledger_writable", "0 while the ledger cannot be written, such as on a full disk: nothing is begun then.", truth(st.Unwritable == ""))
	if r := st.Reading; r != nil {
		c.gauge("policy_file_reload_successful", "0 if the policy file was refused when it was read last: the one before stays in force.", truth(r.Refused.IsZero()))
		c.moment("policy_file_reload_success_timestamp_seconds", "When the policy file in force was read.", r.Taken)
	}
	c.gauge("limit_bytes_per_second", "Limit of all bytes sent that is in force; 0: none.", float64(st.TotalLimit))
	for _, t := range st.Tasks {
		on := []string{"policy", t.Policy, "kind", t.Kind}
		c.gauge("task_running", "1 while the task runs.", truth(t.Running), on...)
		c.gauge("task_paused", "1 while the policy is paused.", truth(t.Paused), on...)
		c.gauge("task_failed", "1 if the last run could not be done, or not to its end.", truth(t.Error != ""), on...)
		c.gauge("task_error_findings", "Error findings of the last run.", float64(t.Errors), on...)
		c.moment("task_begin_timestamp_seconds", "When the last run began.", t.Began, on...)
		c.moment("task_end_timestamp_seconds", "When the last run ended; absent while one is under way or was cut short.", t.Ended, on...)
		c.moment("task_next_timestamp_seconds", "When the next run is due; absent while one runs and while the policy is paused.", t.Next, on...)
	}
	for _, l := range st.Lag {
		c.lag(l)
	}
	for policy, r := range w.replicas {
		c.gauge("policy_satisfied", "1 if the last pass or audit found enough confirmed replicas of everything.", truth(r.Satisfied), "policy", policy)
		c.gauge("policy_replicas_wanted", "Destinations that must hold a confirmed copy.", float64(r.Wanted), "policy", policy)
		c.gauge("policy_short", "Objects, or restore points, with fewer confirmed replicas than wanted.", float64(r.Short), "policy", policy)
		for n, objects := range r.ByCount {
			c.gauge("policy_objects", "Objects, or restore points, by how many destinations hold a confirmed copy.", float64(objects), "policy", policy, "replicas", strconv.Itoa(n))
		}
	}
	for _, r := range st.Snapshot.Regions {
		c.counter("copied_objects_total", "Objects confirmed at a destination.", float64(r.DoneObjects), "region", r.Region)
		c.counter("copied_bytes_total", "Bytes of them.", float64(r.DoneBytes), "region", r.Region)
		c.counter("failed_objects_total", "Copies that failed.", float64(r.Failed), "region", r.Region)
		c.counter("retries_total", "Calls made again.", float64(r.Retries), "region", r.Region)
		c.gauge("backlog_objects", "Changes that are known to wait for a destination, of all policies.", float64(r.WantObjects-r.DoneObjects), "region", r.Region)
		c.gauge("backlog_bytes", "Bytes of them.", float64(r.WantBytes-r.DoneBytes), "region", r.Region)
	}
	if w.crew != nil {
		c.regions(w.crew)
	}
}

// lag is how far a region is behind, for one policy.
func (c collector) lag(l report.Lag) {
	on := []string{"policy", l.Policy, "region", l.Region}
	c.gauge("lag_seconds", "Lag: age of the oldest change that is not confirmed; once the source was not looked at for too long, the most that it can be.", l.Seconds, on...)
	c.gauge("lag_known_seconds", "Age of the oldest change that is known and not confirmed; 0: all that is known is.", l.Known, on...)
	c.gauge("lag_at_most_seconds", "No change older than this is unconfirmed.", l.AtMost, on...)
	c.moment("lag_as_of_timestamp_seconds", "When the oldest look at the source that counts began; absent before the first complete one.", l.AsOf, on...)
	c.gauge("waiting_items", "Changes that are known and not confirmed.", float64(l.Items), on...)
	c.gauge("waiting_bytes", "Bytes of them.", float64(l.Bytes), on...)
	c.gauge("stuck_items", "Items that wait for a person: conflicts, and what cannot be kept. They do not count as lag.", float64(l.Stuck), on...)
	for q, v := range map[string]float64{"0.5": l.Past.P50, "0.99": l.Past.P99, "0.999": l.Past.P999} {
		c.gauge("delay_seconds", "Time from the source's timestamp until it was confirmed, of the last 24 hours.", v, append(on, "quantile", q)...)
	}
	c.gauge("delay_items", "Items confirmed in the last 24 hours, which the delays are of.", float64(l.Past.Items), on...)
	if l.Ahead.None == "" {
		c.gauge("forecast_seconds", "Until nothing waits any more, at the rate of the last minutes; -1: nothing moves. Absent: there is no forecast.", l.Ahead.ETA, on...)
	}
	if l.Late.RPO > 0 {
		c.gauge("rpo_seconds", "The policy's rpo; absent where it has none, as is what follows from it.", l.Late.RPO, on...)
		c.gauge("late_items", "Items that have waited for longer than the rpo.", float64(l.Late.Items), on...)
		c.gauge("rpo_kept_ratio", "Share of the last 24 hours' items that were confirmed within the rpo.", l.Past.Within, on...)
		c.gauge("error_budget_ratio", "What is left of the share that may be late (0.1 %): 1 all, 0 nothing, less: overdrawn.", l.Past.Budget, on...)
		c.gauge("forecast_miss", "1 if, at the rate of the last minutes, something that waits will be late.", truth(l.Ahead.Miss), on...)
	}
}

// regions is what goes over the wire.
func (c collector) regions(x *crew) {
	for name := range x.work.regions {
		c.gauge("region_up", "0 while the region cannot be logged in to, or has answered no request for half a minute.", truth(!x.links.mute(name)), "region", name)
	}
	for name, r := range x.links.open {
		n := r.Counters()
		for what, v := range n.Requests {
			c.counter("requests_total", "Requests made, tries included, by method and kind.", float64(v), "region", name, "request", what)
		}
		for class, v := range n.Status {
			c.counter("responses_total", "Replies by class of status; none: no reply.", float64(v), "region", name, "status", class)
		}
		c.counter("throttled_total", "Replies that asked for less: 429, 498 and 503.", float64(n.Throttled), "region", name)
		c.counter("stalls_total", "Connections that were cut because the peer was silent.", float64(n.Stalls), "region", name)
		c.counter("sent_bytes_total", "Bytes of request bodies.", float64(n.Sent), "region", name)
		c.counter("received_bytes_total", "Bytes of reply bodies.", float64(n.Received), "region", name)
	}
	for _, g := range x.links.gates {
		s := g.Stats()
		c.gauge("region_requests_limit", "Requests at once that the region is found to bear.", float64(s.Limit), "region", s.Region)
		c.gauge("region_requests_active", "Requests under way.", float64(s.InFlight), "region", s.Region)
		c.gauge("region_requests_waiting", "Requests that wait for their turn.", float64(s.Waiting), "region", s.Region)
	}
}

// collector writes series, named farshore_….
type collector struct{ out chan<- prometheus.Metric }

func (c collector) gauge(name, help string, v float64, labels ...string) {
	c.write(prometheus.GaugeValue, name, help, v, labels)
}

func (c collector) counter(name, help string, v float64, labels ...string) {
	c.write(prometheus.CounterValue, name, help, v, labels)
}

// moment is a time, left out where there is none.
func (c collector) moment(name, help string, t time.Time, labels ...string) {
	if !t.IsZero() {
		c.gauge(name, help, float64(t.UnixMilli())/1000, labels...)
	}
}

// write takes labels as name, value, name, value.
func (c collector) write(kind prometheus.ValueType, name, help string, v float64, labels []string) {
	var names, values []string
	for i := 0; i < len(labels); i += 2 {
		names, values = append(names, labels[i]), append(values, labels[i+1])
	}
	c.out <- prometheus.MustNewConstMetric(prometheus.NewDesc("farshore_"+name, help, names, nil), kind, v, values...)
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// listen serves /metrics, /healthz and /readyz, and the page, until the function it gives is
// called.
func (w *watched) listen(ctx context.Context, address string, b *wall) (net.Addr, func(), error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, nil, fmt.Errorf("listen for metrics: %w", err)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(w, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	guarded := onlyHere(l.Addr())
	mux.Handle("GET /metrics", secured(guarded, promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP))
	mux.Handle("GET /healthz", secured(guarded, w.life.ServeHTTP))
	mux.Handle("GET /readyz", secured(guarded, w.ready))
	b.handle(mux, l.Addr())
	s := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 30 * time.Second}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = s.Serve(l) // http.ErrServerClosed, by the function below
	}()
	return l.Addr(), func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if errors.Is(s.Shutdown(ctx), context.DeadlineExceeded) {
			_ = s.Close()
		}
		<-ended
	}, nil
}

// ready answers 200 while policies are worked on, the ledger takes what is written, and
// every region could be logged in to.
func (w *watched) ready(rw http.ResponseWriter, _ *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	unwritable := w.session.ledger.Unwritable()
	switch {
	case unwritable != nil:
		http.Error(rw, "nothing can be written: "+unwritable.Error(), http.StatusServiceUnavailable)
	case w.crew == nil:
		http.Error(rw, "not at work", http.StatusServiceUnavailable)
	default:
		mute := slices.DeleteFunc(sortedNames(w.crew.work.regions), func(name string) bool { return !w.crew.links.mute(name) })
		if len(mute) > 0 {
			http.Error(rw, fmt.Sprintf("regions that do not answer: %v", mute), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(rw, "ready")
	}
}
