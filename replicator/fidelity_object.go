package replicator

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"farshore/policies"
	"farshore/replicator/audit"
	"farshore/replicator/plan"
	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
)

// object compares one object with its copies.
func (x *certJob) object(ctx context.Context, sub plan.Subject) error {
	src, err := x.p.src.Head(ctx, x.p.job.From.Container, sub.Name)
	switch {
	case transport.Is(err, transport.NotFound):
		return nil // deleted or expired since it was listed
	case err != nil && (ctx.Err() != nil || !regionTrouble(err)):
		return err
	case err != nil:
		x.unseen.Add(1)
		x.failed(x.p.job.From.Region, x.p.job.From.Container, sub.Name, err)
		return nil
	}
	for i, d := range x.p.dests {
		if d.dead.Load() {
			continue
		}
		r := x.rows(d, itemObject, sub.Name)
		there, err := d.ep.Head(ctx, d.side.Container, r.like.Name)
		if err != nil {
			gone, err := x.lost(ctx, d, r.like.Name, err)
			if err != nil {
				return err
			}
			if gone {
				r.add("content", report.Cannot, "it is not there", "", "")
				if err := x.emit(r); err != nil {
					return err
				}
			}
			continue
		}
		if err := x.compare(ctx, r, d, sub, src, there); err != nil {
			if errors.Is(err, errNotAtSource) {
				return nil
			}
			if _, err := x.lost(ctx, d, r.like.Name, err); err != nil {
				return err
			}
			continue
		}
		if e := sub.Entry; e != nil && e.S3ETag != "" {
			s3 := ""
			if sub.Dests[i].Entry != nil {
				s3 = sub.Dests[i].Entry.S3ETag
			}
			if s3 == e.S3ETag {
				r.add("S3 ETag", report.Kept, "", "", "")
			} else {
				r.add("S3 ETag", report.Cannot, "it was uploaded in parts through the S3 API, whose ETag no client can set", e.S3ETag, s3)
			}
		}
		if err := x.emit(r); err != nil {
			return err
		}
	}
	return nil
}

// compare fills the rows of one object at one destination.
func (x *certJob) compare(ctx context.Context, r *rows, d *dest, sub plan.Subject, src, there transport.Object) error {
	segmented := src.Kind == transport.Plain && there.Kind == transport.SLO
	switch {
	case src.Kind == there.Kind:
		r.add("kind", report.Kept, "", "", "")
	case segmented && x.policy.Large.As == policies.Segmented && src.Size > x.policy.Large.Over:
		r.add("kind", report.Mapped, "a static large object, as large: {as: segmented} says", string(src.Kind), string(there.Kind))
	default:
		r.add("kind", report.Cannot, "it is of another kind there", string(src.Kind), string(there.Kind))
	}
	if err := x.content(ctx, r, d, sub, src, there, segmented); err != nil {
		return err
	}
	if src.Kind == transport.SLO && there.Kind == transport.SLO {
		if err := x.manifest(ctx, r, d, sub.Name); err != nil {
			return err
		}
	}
	if src.Kind == transport.DLO && there.Kind == transport.DLO {
		if err := x.segments(ctx, r, d, sub.Name, src.Header[transport.ManifestHeader]); err != nil {
			return err
		}
	}
	return x.headers(ctx, r, d, src.Header, there.Header)
}

func (x *certJob) content(ctx context.Context, r *rows, d *dest, sub plan.Subject, src, there transport.Object, segmented bool) error {
	text := func(o transport.Object) string { return fmt.Sprintf("%d bytes, ETag %s", o.Size, o.ETag) }
	differ := ""
	switch {
	case src.Size != there.Size:
		differ = "its size is another"
	case segmented:
		differ = "it consists of segments, which the ledger knows nothing of: --read 100% compares the bytes"
		if sub.Record != nil {
			if rep, ok := sub.Record.Replica(d.info.ID); ok && rep.State == store.Confirmed && rep.Version.ETag == src.ETag && rep.ETag == there.ETag {
				differ = ""
			}
		}
	case src.ETag != there.ETag:
		differ = "its ETag is another"
	}
	if differ != "" && sub.Record != nil && sub.Record.Version.ETag != src.ETag {
		differ += "; no pass has carried this version yet"
	}
	read := src.Kind != transport.DLO && src.Kind != transport.Symlink && src.Size == there.Size && audit.Sampled(x.o.Seed, sub.Name, x.o.Read)
	if read {
		same, broken, err := x.bytes(ctx, d, r.like.Name, sub.Name, src, there)
		if err != nil {
			return err
		}
		switch {
		case broken != "":
			differ = broken
		case !same:
			differ = "its bytes are others"
		case segmented:
			differ = ""
		}
	}
	switch {
	case differ != "":
		r.add("content", report.Cannot, differ, text(src), text(there))
	case segmented:
		r.add("content", report.Mapped, "in segments, whose bytes together have the source's MD5", text(src), text(there))
	default:
		r.add("content", report.Kept, "", "", "")
	}
	return nil
}

// bytes reads both ends, or of a plain source object only the copy: its ETag is its MD5.
// broken says which end has a manifest that cannot be read.
func (x *certJob) bytes(ctx context.Context, d *dest, name, srcName string, src, there transport.Object) (same bool, broken string, err error) {
	slot, err := x.e.budget.stream(ctx)
	if err != nil {
		return false, "", err
	}
	defer slot()
	x.read.Add(1)
	count := func(n int) { x.readBytes.Add(int64(n)) }
	_, got, err := digestOf(ctx, d.ep, d.side.Container, name, transport.OpenOptions{ETag: there.ETag, Length: -1, Unchecked: true}, count)
	switch {
	case there.Kind == transport.SLO && manifestBroken(err):
		return false, "its bytes cannot be read there: " + err.Error(), nil
	case err != nil:
		return false, "", err
	case src.Kind == transport.Plain:
		sum, _ := got.Sums()
		return sum == src.ETag, "", nil
	}
	_, want, err := digestOf(ctx, x.p.src, x.p.job.From.Container, srcName, transport.OpenOptions{ETag: src.ETag, Length: -1, Unchecked: true}, count)
	switch {
	case src.Kind == transport.SLO && manifestBroken(err):
		return false, "its bytes cannot be read at the source: " + err.Error(), nil
	case err != nil:
		return false, "", err
	}
	return want.Equal(got), "", nil
}

// manifest compares two manifests part by part.
func (x *certJob) manifest(ctx context.Context, r *rows, d *dest, name string) error {
	_, raw, err := x.p.src.Manifest(ctx, x.p.job.From.Container, name, "")
	if transport.Is(err, transport.NotFound) {
		return errNotAtSource
	}
	if err != nil {
		return err
	}
	source, err := transport.ParseManifest(raw)
	if err != nil {
		return err
	}
	if _, raw, err = d.ep.Manifest(ctx, d.side.Container, r.like.Name, ""); err != nil {
		return err
	}
	there, err := transport.ParseManifest(raw)
	if err != nil {
		return err
	}
	want := x.p.manifestAt(d, source)
	switch {
	case len(there) != len(want):
		r.add("manifest", report.Cannot, "it has another number of parts", fmt.Sprintf("%d parts", len(source)), fmt.Sprintf("%d parts", len(there)))
		return nil
	case bytes.Equal(want.Encode(), there.Encode()):
		if bytes.Equal(want.Encode(), source.Encode()) {
			r.add("manifest", report.Kept, "", "", "")
		} else {
			r.add("manifest", report.Mapped, "its segments' containers have the names they have there", "", "")
		}
		return nil
	}
	for i := range want {
		a, b := want[i:i+1].Encode(), there[i:i+1].Encode()
		if !bytes.Equal(a, b) {
			r.add("manifest", report.Cannot, fmt.Sprintf("part %d is another", i), string(a), string(b))
			break
		}
	}
	return nil
}

// headers compares every header that a copy keeps, one by one.
func (x *certJob) headers(ctx context.Context, r *rows, d *dest, source, there transport.Header) error {
	want := x.p.mapped(source, d)
	for _, n := range names(want, there) {
		switch {
		case n == transport.OriginHeader:
			if there[n] != "" {
				r.add(n, report.Mapped, "Farshore's stamp: the only header that is added; stamp: false in the policy leaves it out", "", there[n])
			}
			continue
		case n == transport.TargetETagHeader && want[n] != "" && there[n] != "" && want[n] != there[n]:
			same, err := x.pinsTarget(ctx, d, there)
			if err != nil {
				return err
			}
			if same {
				r.add(n, report.Mapped, "it is the target's there: an SLO's manifest has another ETag at every region", source[n], there[n])
				continue
			}
		case (n == transport.ManifestHeader || n == transport.TargetHeader) && want[n] != there[n] && transport.Unquote(want[n]) == transport.Unquote(there[n]):
			r.add(n, report.Mapped, "spelt in another way", source[n], there[n])
			continue
		}
		r.same(n, source[n], want[n], there[n], "it points to what stands for its target there")
	}
	return nil
}

// pinsTarget reports whether a static link at a destination names its target as that is there.
func (x *certJob) pinsTarget(ctx context.Context, d *dest, link transport.Header) (bool, error) {
	container, name, err := splitPath("link to", link[transport.TargetHeader])
	if err != nil || link[transport.TargetAccountHeader] != "" && link[transport.TargetAccountHeader] != accountOf(d.url) {
		return false, nil
	}
	target, err := d.ep.Head(ctx, container, name)
	if transport.Is(err, transport.NotFound) {
		return false, nil
	}
	return err == nil && target.ManifestETag != "" && target.ManifestETag == link[transport.TargetETagHeader], err
}
