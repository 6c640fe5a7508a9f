package volumes

import (
	"context"
	"fmt"
	"sync"

	"farshore/replicator/report"
	"farshore/transport"
)

// trial is a pass's one try to write at a destination.
type trial struct {
	once sync.Once
	err  error
}

// trialName is the object that is written for a trial, and removed again, beside the
// points' descriptors. It has no suffix of theirs, so that one which stays is none.
const trialName = "write-trial"

// writable finds out, once a pass, whether a destination's account can be written to: a
// volume's full backup would be made for nothing. It is only called when something
// is going to be shipped there.
func (r *run) writable(ctx context.Context, region string, sink transport.Sink) error {
	r.mu.Lock()
	if r.trials[region] == nil {
		r.trials[region] = &trial{}
	}
	t := r.trials[region]
	r.mu.Unlock()
	t.once.Do(func() { t.err = tryWriting(ctx, region, sink) })
	return t.err
}

func tryWriting(ctx context.Context, region string, sink transport.Sink) error {
	err := putSmall(ctx, sink, trialName, []byte("farshore sees whether it may write here\n"), "text/plain")
	if err == nil {
		err = sink.Delete(ctx, PointsContainer, trialName)
	}
	if err == nil || passing(err) || ctx.Err() != nil {
		return err
	}
	hint := transport.HintOf(err)
	if transport.Is(err, transport.Denied) {
		hint = "have the operator of region " + region + " give the login a role that may write to the project's object store, such as member: farshore region check " + region
	}
	return &kindError{kind: report.KindNotShipped, cause: &transport.Error{Op: "write to the object store", Region: region, Class: transport.ClassOf(err),
		Err: fmt.Errorf("%w; nothing is begun for this region", err), Hint: hint}}
}
