package volumes

import (
	"context"
	"time"

	"farshore/transport"
)

// patience is how long a region may fail to answer while something is waited for: what
// it does goes on meanwhile.
const patience = 10 * time.Minute

// await asks until ready says so: often at first, because what is small is done soon, then
// every Options.Poll. what is shown as the phase the run is in. A region that does not
// answer for a while is asked again; any other error of ready ends the wait and is returned.
func (s *Shipper) await(ctx context.Context, what string, ready func(context.Context) (done bool, err error)) error {
	s.o.Progress.Phase(what)
	answered := s.o.Clock.Now()
	for pause := s.o.Poll / 8; ; pause = min(2*pause, s.o.Poll) {
		done, err := ready(ctx)
		switch {
		case err == nil && done:
			return nil
		case err == nil:
			answered = s.o.Clock.Now()
		case !passing(err) || ctx.Err() != nil || s.o.Clock.Now().Sub(answered) > patience:
			return err
		default:
			s.o.Log.Debug("asked in vain", "what", what, "err", err)
		}
		if err := transport.Sleep(ctx, s.o.Clock, pause, nil); err != nil {
			return err
		}
	}
}

// passing reports whether an error may be gone when asked again.
func passing(err error) bool {
	return transport.Is(err, transport.Transient) || transport.Is(err, transport.Throttled)
}
