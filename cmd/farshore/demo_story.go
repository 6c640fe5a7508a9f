package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"farshore/integration/fakecloud"
)

// demoSpeed is the emulated link of a replica while a run is to be killed: slow enough
// that half-way can be met.
const demoSpeed = 48 << 20 // bytes per second

type chapter struct {
	step, title string
	tell        func(context.Context) error
}

func (d *demo) chapters() []chapter {
	return []chapter{
		{"kill", "Replicate, and die half-way", d.kill},
		{"resume", "The same command goes on from there", d.resume},
		{"unchanged", "A pass over what did not change", d.unchanged},
		{"damage", "Bits rot, and somebody deletes a replica", d.damage},
		{"repair", "Repair, with every byte of every replica read once more", d.repair},
		{"region-down", "berlin goes away while paris gets a new object, and comes back", d.lose},
		{"volumes", "A volume of paris: its snapshots become restore points at lyon", d.volumes},
		{"verify", "What the regions hold, compared by the demo in their memory", d.verify},
	}
}

func (d *demo) introduce() {
	names := demoNames()
	d.c.say("Three emulated OpenStack regions run in this process. Of these, paris:%s holds %s objects,", demoContainer, comma(d.objects))
	d.c.say("%s, some with names like %q and %q; two of %s are sent in pieces.", size(d.bytes), names[0], names[2], size(demoLargeSize))
	d.c.say("farshore.yaml says: each object of paris must be at lyon and at berlin too (replicas: 2).")
}

// kill starts a pass and takes the process away when half of the bytes have arrived.
func (d *demo) kill(ctx context.Context) error {
	half := d.bytes // of two replicas
	enough := make(chan struct{})
	var once sync.Once
	for _, r := range d.replicas() {
		r.SetBandwidth(demoSpeed)
		r.LogRequests(true)
		r.OnRequest(func(*http.Request) {
			if d.received() >= half {
				once.Do(func() { close(enough) })
			}
		})
	}
	run, err := d.runWhile(ctx, enough, "sync")
	if err != nil {
		return err
	}
	for _, r := range d.replicas() {
		r.OnRequest(nil)
		r.SetBandwidth(0)
	}
	if run.exit != -1 {
		return fmt.Errorf("farshore sync ended with %d before it was killed; it said:\n%s%s", run.exit, run.stdout, run.stderr)
	}
	if err := d.showRun(run, -1, "sync"); err != nil {
		return err
	}
	copies, bytes := d.copies(), d.received()
	d.narrate("killed with SIGKILL after %s, when %s of %s copies and %s of %s had arrived", seconds(run.took),
		comma(d.fact("copies_arrived", copies)), comma(2*d.objects), size(d.fact("bytes_arrived", bytes)), size(2*d.bytes))
	if copies == 0 || copies >= 2*d.objects {
		return errors.New("that was not half-way")
	}
	return d.show(ctx, 0, "status", "→ lyon:")
}

// resume runs the same command again and counts what was sent twice.
func (d *demo) resume(ctx context.Context) error {
	if err := d.show(ctx, 0, "sync", "objects? copied", "interrupted pass", "replicas:.*with 2 confirmed copies$"); err != nil {
		return err
	}
	twice := d.fact("bytes_sent_twice", d.sent()-2*d.bytes)
	// Promise 3, for each replica: a chunk a stream, and one batch of small ones.
	allowed := int64(2 * (demoStreams*(demoChunk+demoLargest) + 256*demoLargest))
	d.narrate("the regions received %s for %s of copies: %s (%.1f %%) twice, what was on its way",
		size(d.sent()), size(2*d.bytes), size(twice), 100*float64(twice)/float64(2*d.bytes))
	if twice < 0 || twice > allowed {
		return fmt.Errorf("%d bytes were sent twice; a kill may cost %d", twice, allowed)
	}
	if got := d.copies(); got != 2*d.objects {
		return fmt.Errorf("%d of %d copies are there", got, 2*d.objects)
	}
	return nil
}

// unchanged counts what a pass asks when there is nothing to do.
func (d *demo) unchanged(ctx context.Context) error {
	for _, r := range d.cloud.Regions() {
		r.ResetCounters()
	}
	if err := d.show(ctx, 0, "sync", "listed, .* unchanged"); err != nil {
		return err
	}
	to, from := d.fact("requests_to_replicas", asked(d.replicas()...)), d.fact("requests_to_source", asked(d.paris))
	d.narrate("lyon and berlin got %s, paris %s, none of them for an object", count(to, "request"), comma(from))
	if objects := d.paris.Counters().Of(fakecloud.ClassObject, "GET").Requests + d.paris.Counters().Of(fakecloud.ClassObject, "HEAD").Requests; to+objects != 0 {
		return fmt.Errorf("%d requests to the replicas, %d for objects at the source", to, objects)
	}
	return nil
}

// damage changes replicas behind everybody's back; an audit must find exactly that.
func (d *demo) damage(ctx context.Context) error {
	flipped, deleted := demoNames()[0], d.small[len(d.small)/2]
	if !d.lyon.Corrupt(demoContainer, flipped) || !d.berlin.Delete(demoContainer, deleted) {
		return errors.New("there is nothing to damage")
	}
	d.narrate("a byte of one object at lyon was flipped on disk (ETag and size stay), one was deleted at berlin")
	return d.show(ctx, exitFindings, "audit --read 100%", "damaged-replica: lyon:", "missing-replica: berlin:")
}

func (d *demo) repair(ctx context.Context) error {
	return d.show(ctx, 0, "audit --read 100% --repair", "1 missing, 1 damaged, 2 repaired")
}

// lose stops a whole region during a pass over a new object.
func (d *demo) lose(ctx context.Context) error {
	const name = "2027/new.jpg"
	d.paris.Put(demoContainer, name, []byte("taken while berlin was down"), map[string]string{"Content-Type": "image/jpeg"})
	d.objects++
	if err := errors.Join(d.berlin.Stop(), d.berlin.StopKeystone()); err != nil {
		return err
	}
	if err := d.show(ctx, exitFindings, "sync", "region-down: berlin", "replicas:.*; 1 with fewer$"); err != nil {
		return err
	}
	_, early := d.lyon.Get(demoContainer, name)
	if err := errors.Join(d.berlin.StartKeystone(), d.berlin.Start()); err != nil {
		return err
	}
	if err := d.show(ctx, 0, "sync", "^photos: 1 object copied", "replicas:.*with 2 confirmed copies$"); err != nil {
		return err
	}
	if _, late := d.berlin.Get(demoContainer, name); !early || !late {
		return fmt.Errorf("the new object: at lyon while berlin was down: %v, at berlin afterwards: %v", early, late)
	}
	return nil
}

// verify looks at everything without farshore.
func (d *demo) verify(ctx context.Context) error {
	if err := d.show(ctx, 0, "ledger check", "no problems"); err != nil {
		return err
	}
	objects, bytes, err := d.compare()
	if err != nil {
		return err
	}
	d.narrate("3 regions, %s objects, %s each: names, bytes, ETags and metadata are identical",
		comma(d.fact("objects_identical", objects)), size(d.fact("bytes_identical", bytes)))
	if objects != d.objects {
		return fmt.Errorf("%d objects instead of %d", objects, d.objects)
	}
	return nil
}
