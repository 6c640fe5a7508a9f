package replicator

import (
	"context"
	"fmt"
	"strconv"
	"sync"

	"farshore/replicator/report"
	"farshore/transport"
)

// rooms says before bytes are sent that an account has too little room for them: its
// quota is the operator's, and what does not fit would be refused an object at a time. A
// destination's account is asked once, and only by a pass that meets a container there
// for the first time. It is safe for concurrent use.
type rooms struct {
	mu sync.Mutex
	of map[string]*room // by region
}

// room is that of one destination's account.
type room struct {
	asked  sync.Once
	bounds bool
	quota  int64 // bytes
	used   int64 // bytes, as the account's sums have it: they lag a little
	to     int64 // bytes that are going to come; under rooms.mu
	said   bool
}

// ask finds out what an account may hold. One that may not be asked, or does not answer,
// has no bound here: it is a warning's question, and the copies say the rest.
func (r *rooms) ask(ctx context.Context, region string, ep transport.Sink) *room {
	r.mu.Lock()
	if r.of == nil {
		r.of = map[string]*room{}
	}
	x := r.of[region]
	if x == nil {
		x = &room{}
		r.of[region] = x
	}
	r.mu.Unlock()
	x.asked.Do(func() {
		info, err := ep.Account(ctx)
		if err != nil {
			return
		}
		if quota, err := strconv.ParseInt(info.Header[accountQuota], 10, 64); err == nil {
			x.bounds, x.quota, x.used = true, quota, info.Bytes
		}
	})
	return x
}

// checkRoom counts what the first pass over a container is going to bring, beyond what
// stands there, and says so once all of it is more than the account may hold.
func (p *pass) checkRoom(ctx context.Context, d *dest, src, there transport.ContainerInfo) {
	if p.job.along || p.job.From.Prefix != "" { // a part of what the container holds: nobody has counted that
		return
	}
	r := &p.kin.rooms
	x := r.ask(ctx, d.side.Region, d.ep)
	if !x.bounds {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	x.to += max(0, src.Bytes-there.Bytes)
	if x.said || x.to == 0 || x.used+x.to <= x.quota {
		return
	}
	x.said = true
	p.findings.Add(report.Finding{Kind: report.KindDegraded, Level: report.Warn, Policy: p.job.Policy.Name, Region: d.side.Region, Container: d.side.Container, Op: "check quota",
		Cause: fmt.Sprintf("the account's quota is %d bytes, %d are used, and %d or more are to come", x.quota, x.used, x.to),
		Hint:  fmt.Sprintf("have the operator of %s raise %s, or free space there, before copies fail with 413", d.side.Region, accountQuota)})
}
