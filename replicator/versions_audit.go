package replicator

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"

	"farshore/replicator/plan"
	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
)

// The audit of a container with versions compares what the ledger's histories say of
// each destination with its listing of versions, asks by id where they disagree, and
// reads a sample of the versions' bytes.

// doubtPast is a version at a destination that is not as recorded.
type doubtPast struct {
	d           *dest
	id          string // the source's; "": about which version is shown
	shown       string // the destination's id of the version that is shown, where it is about that
	kind, cause string
	note        string // the same, as the ledger says it of the version
	theirs      bool   // somebody else's version has taken its place
}

// histories audits a job over a container with versions.
func (x *auditJob) histories(ctx context.Context) error {
	p := x.p
	p.kin = newKin()
	p.histories = &histories{lanes: map[*dest]*lane{}, visit: x.visitPasts}
	for _, d := range p.dests {
		l := &lane{}
		p.histories.lanes[d] = l
		mode, _, err := x.e.o.Ledger.Note(modeNote(d))
		if err != nil {
			return err
		}
		l.mode = string(mode)
		if d.back != 0 {
			l.back = d.info.To
		}
	}
	p.gone = x.s.unseen.Load()
	return p.walkHistories(ctx)
}

// visitPasts judges the names in (lo, hi].
func (x *auditJob) visitPasts(ctx context.Context, lo, hi string, pasts []*past) error {
	p := x.p
	byName := map[string]*past{}
	for _, o := range pasts {
		byName[o.name] = o
		o.begun = map[*dest]bool{}
	}
	for _, d := range p.dests {
		if d.dead.Load() {
			continue
		}
		for _, o := range pasts {
			o.seen(d, nil)
		}
		if d.absent {
			continue
		}
		r := transport.Range{Prefix: d.side.Prefix}
		if lo != "" {
			r.After = p.destName(d, lo)
		}
		if hi != "" {
			r.Through = p.destName(d, hi)
		}
		err := d.ep.Versions(ctx, d.side.Container, r, func(page []transport.VersionEntry) error {
			for i := range page {
				if o := byName[p.srcName(d, page[i].Name)]; o != nil {
					o.there[d] = append(o.there[d], page[i])
				} else if !page[i].Marker {
					x.stray(d, &page[i].Entry)
				}
			}
			return nil
		})
		if err != nil && !transport.Is(err, transport.NotFound) {
			if ctx.Err() != nil || !regionTrouble(err) {
				return err
			}
			p.lose(d, err)
		}
	}
	for _, o := range pasts {
		if err := x.judge(ctx, o); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// judge compares one name's history with every destination.
func (x *auditJob) judge(ctx context.Context, o *past) error {
	p := x.p
	now := plan.Track(o.series, o.rows, micros(x.e.o.Clock.Now()))
	for i := range now.Versions {
		if v := &now.Versions[i]; o.series.Find(v.ID) == nil && !p.gone {
			x.unrecorded.Add(1)
			x.here.unrecorded.Add(1)
			x.fresh.LoadOrStore("", o.name)
		} else if v.Missing != 0 && o.series.Find(v.ID).Missing == 0 && !p.gone {
			x.gone.Add(1)
		}
	}
	var doubts []doubtPast
	held := map[string]bool{}
	for _, d := range p.dests {
		if d.dead.Load() {
			continue
		}
		found, err := x.compareAt(ctx, o, d)
		if err != nil {
			if ctx.Err() != nil || !regionTrouble(err) {
				return err
			}
			p.lose(d, err)
			continue
		}
		doubts = append(doubts, found...)
	}
	if len(doubts) > 0 {
		if err := x.distrustPast(ctx, o, doubts); err != nil {
			return err
		}
		var err error
		if doubts, err = x.repairPast(ctx, o, doubts); err != nil {
			return err
		}
	}
	l := plan.Latest(&o.series)
	if l == nil || l.Marker {
		return nil
	}
	for _, d := range p.dests {
		rep, ok := l.Replica(d.info.ID)
		bad := slices.ContainsFunc(doubts, func(w doubtPast) bool { return w.d == d && (w.id == l.ID || w.id == "") })
		if ok && !d.dead.Load() && rep.State == store.Confirmed && rep.Current && !rep.Touched && !bad {
			held[d.side.Region] = true
		}
	}
	x.tally.held(len(held))
	if len(held) < x.policy.Replicas && x.excuses() && slices.ContainsFunc(l.Replicas, func(r store.SeriesReplica) bool { return r.State == store.Cannot && x.p.byRoute(r.Route) != nil }) {
		x.tally.excused.Add(1)
	}
	return nil
}

// compareAt sets a history against what stands at one destination.
func (x *auditJob) compareAt(ctx context.Context, o *past, d *dest) (doubts []doubtPast, err error) {
	p := x.p
	rows := map[string]transport.VersionEntry{}
	for _, r := range o.there[d] {
		rows[r.ID] = r
	}
	shown, blocked := "", false
	for i := range o.series.Versions {
		v := &o.series.Versions[i]
		rep, ok := v.Replica(d.info.ID)
		if !ok {
			continue
		}
		doubt := func(kind, cause string) {
			doubts = append(doubts, doubtPast{d: d, id: v.ID, kind: kind, note: kind + ": " + cause, cause: fmt.Sprintf("version %s (at the source %s): %s", rep.ID, v.ID, cause)})
		}
		switch rep.State {
		case store.Conflict:
			if !blocked && v.Missing == 0 {
				x.add(report.KindConflict, report.Error, d, o.name, "versions that are not ours stand there", "remove the versions that you do not want, or set takeover: true in the policy, and run farshore sync")
			}
			blocked = true
			continue
		case store.Cannot:
			if v.Missing == 0 {
				p.cannotFinding(d, o.name, "version "+v.ID+": "+rep.Note)
			}
			continue
		case store.Lost:
			doubt(report.KindDamaged, "an earlier audit found it so, and it was not sent again since: "+rep.Note)
			continue
		}
		if rep.Current && shown == "" || v.Latest && !v.Marker { // an earlier audit may have seen another one
			shown = rep.ID
		}
		row, there := rows[rep.ID]
		delete(rows, rep.ID)
		if !there || !v.Marker && (row.ETag != v.Version.ETag || row.Size != v.Size) { // listings lag, a HEAD does not
			x.heads.Add(1)
			var obj transport.Object
			if obj, there, err = p.versionThere(ctx, o, d, rep.ID); err != nil {
				return nil, err
			}
			row.ETag, row.Size = obj.ETag, obj.Size
		}
		switch {
		case !there && v.Missing != 0: // gone at both ends
			x.here.copiesGone.Add(1)
			x.lost.LoadOrStore("", o.name)
			continue
		case !there:
			doubt(report.KindMissing, "it is recorded and does not stand there")
			continue
		case !v.Marker && (row.ETag != v.Version.ETag || row.Size != v.Size):
			doubt(report.KindDamaged, fmt.Sprintf("ETag %s and %d bytes stand there, recorded are %s and %d", row.ETag, row.Size, v.Version.ETag, v.Size))
			doubts[len(doubts)-1].theirs = rep.ID == plan.NullVersion // no other version can be overwritten
			continue
		}
		if !v.Marker && x.takes(d, o.name, v.ID) {
			cause, err := x.readVersion(ctx, o, d, rep.ID)
			if err == nil && cause != "" { // bad bytes must come twice
				cause, err = x.readVersion(ctx, o, d, rep.ID)
			}
			if err != nil {
				return nil, err
			}
			if cause != "" {
				doubt(report.KindDamaged, cause)
				continue
			}
		}
		x.seen.Add(1)
		x.mu.Lock()
		x.byRegion[d.side.Region]++
		x.mu.Unlock()
	}
	if blocked {
		return doubts, nil
	}
	for _, r := range o.there[d] {
		_, unknown := rows[r.ID]
		if unknown && !r.Marker && !x.knownBack(d, o.name, r.ID) {
			x.stray(d, &r.Entry)
		}
		if r.Latest && !r.Marker && r.ID != shown && !unknown {
			x.heads.Add(1)
			obj, there, err := p.versionThere(ctx, o, d, "")
			if err != nil {
				return nil, err
			}
			if id := cmp.Or(obj.Version, plan.NullVersion); there && id != shown {
				doubts = append(doubts, doubtPast{d: d, shown: id, kind: report.KindDamaged, cause: fmt.Sprintf("version %s is shown there, recorded is %q", id, shown)})
			}
		}
	}
	return doubts, nil
}

// knownBack reports whether the opposite direction has a version of a destination.
func (x *auditJob) knownBack(d *dest, name, id string) bool {
	if d.back == 0 {
		return false
	}
	s, ok, err := x.e.o.Ledger.Series(x.p.histories.lanes[d].back, x.p.destName(d, name))
	return err == nil && ok && s.Find(id) != nil
}

// readVersion reads a version through and says what is wrong with it; "" if nothing is.
func (x *auditJob) readVersion(ctx context.Context, o *past, d *dest, id string) (string, error) {
	_, rc, err := d.ep.Open(ctx, d.side.Container, x.p.destName(d, o.name), transport.OpenOptions{Length: -1, Version: id})
	if err == nil && rc != nil {
		var n int64
		n, err = io.Copy(io.Discard, rc)
		rc.Close()
		x.readBytes.Add(n)
	}
	x.readCount.Add(1)
	if transport.Is(err, transport.Corrupt) {
		return "its bytes are not those of its ETag: " + err.Error(), nil
	}
	return "", err
}

// distrustPast has the ledger no longer count what the audit saw to be missing or wrong: a
// version that is not the recorded one, or that another hides. The next pass writes it
// again, or says why not. Where objects also come from the destination, what is shown there
// may be an edit, which the opposite direction carries.
func (x *auditJob) distrustPast(ctx context.Context, o *past, doubts []doubtPast) error {
	seen, now := snapshot(o.series), micros(x.e.o.Clock.Now())
	mark := func(s *store.Series) {
		for _, w := range doubts {
			if w.d.back != 0 && (w.theirs || w.id == "") {
				continue
			}
			route := w.d.info.ID
			for i := range s.Versions {
				v := &s.Versions[i]
				rep, ok := v.Replica(route)
				if was := seen.Find(v.ID); !ok || was == nil || rep.State != store.Confirmed {
					continue
				} else if old, _ := was.Replica(route); old != rep { // a pass beside the audit vouches for it
					continue
				}
				switch {
				case w.id == "":
					rep.Current = rep.ID == w.shown
				case w.id == v.ID && w.theirs:
					rep = store.SeriesReplica{Route: route, State: store.Conflict, Note: "others wrote versions there"}
				case w.id == v.ID:
					rep.State, rep.Note, rep.Current, rep.Confirmed = store.Lost, w.note, false, now
				}
				v.SetReplica(rep)
			}
		}
	}
	x.e.o.Ledger.UpdateSeries(x.p.place, o.name, func(s *store.Series, exists bool) bool {
		mark(s)
		return exists
	})
	marked := past{name: o.name, series: snapshot(o.series)}
	mark(&marked.series)
	o.series = marked.series
	x.p.saveObject(&marked, nil)
	return x.e.o.Ledger.Flush(ctx)
}

// repairPast reports what is wrong with a name and, if that was asked for, sends it
// again; it gives what is still wrong. Versions younger than one that is sent again
// are written again after it: Swift only appends.
func (x *auditJob) repairPast(ctx context.Context, o *past, doubts []doubtPast) ([]doubtPast, error) {
	for _, w := range doubts {
		if w.kind == report.KindMissing {
			x.missing.Add(1)
		} else {
			x.damaged.Add(1)
		}
	}
	tell := func(w doubtPast, more string) {
		hint := "send it again with farshore audit --repair"
		if w.theirs && !x.policy.Takeover {
			hint = "promise kept: it is not touched. Remove it there and run farshore sync, or set takeover: true in the policy"
		}
		x.add(w.kind, report.Error, w.d, o.name, w.cause+more, hint)
	}
	if !x.o.Repair || x.p.gone {
		for _, w := range doubts {
			tell(w, "")
		}
		return doubts, nil
	}
	var causes repairCauses
	causes.of = map[string]string{}
	p := &pass{e: x.e, job: x.p.job, src: x.p.src, account: x.p.account, place: x.p.place, known: true, dests: x.p.dests, kin: x.p.kin,
		histories: &histories{lanes: x.p.histories.lanes}, findings: report.NewFindings(nil, causes.add), tally: &tally{byCount: map[int]int64{}, byRegion: map[string]int64{}}}
	again := &past{name: o.name, rows: o.rows, object: o.object, begun: map[*dest]bool{}, final: true,
		series: plan.Track(o.series, o.rows, micros(x.e.o.Clock.Now()))}
	for _, w := range doubts {
		if !slices.Contains(again.todo, w.d) {
			again.todo = append(again.todo, w.d)
		}
	}
	p.saveSeries(again)
	var intents []store.Intent
	for _, d := range again.todo {
		_, begun, err := x.e.o.Ledger.Intent(d.info.ID, o.name)
		if err != nil {
			return nil, err
		}
		again.begun[d] = begun // by a run that died
		v := youngest(&again.series)
		intents = append(intents, store.Intent{Route: d.info.ID, Name: o.name, Version: v.Version, Size: v.Size, Began: micros(x.e.o.Clock.Now())})
	}
	if err := x.e.o.Ledger.AddIntents(ctx, intents); err != nil {
		return nil, err
	}
	if err := p.carry(ctx, again); err != nil {
		return nil, err
	}
	if err := x.e.o.Ledger.Flush(ctx); err != nil {
		return nil, err
	}
	x.tally.addWork(p.tally)
	o.series = again.series
	return slices.DeleteFunc(doubts, func(w doubtPast) bool {
		v := again.series.Find(w.id)
		fixed := plan.Settled(&again.series, w.d.info.ID)
		if v != nil {
			rep, ok := v.Replica(w.d.info.ID)
			fixed = ok && rep.State == store.Confirmed
		}
		if !fixed {
			tell(w, "; it could not be sent again: "+causes.of[x.p.destName(w.d, o.name)])
			return false
		}
		x.repaired.Add(1)
		x.add(report.KindRepaired, report.Warn, w.d, o.name, w.cause+"; it was sent again", "look for what removed or damaged it there")
		return true
	}), nil
}
