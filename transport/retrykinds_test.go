package transport_test

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"farshore/transport"
	"farshore/transport/transporttest"
)

// faultyMem is an account in memory behind a script and the retry layer.
func faultyMem(t *testing.T) (*transporttest.Mem, *transporttest.Faults, transport.Sink) {
	t.Helper()
	m, s := transporttest.NewMem(transporttest.MemOptions{PageSize: 3}), new(transporttest.Faults)
	if err := m.CreateContainer(t.Context(), "c", transport.Header{"X-Versions-Enabled": "true"}); err != nil {
		t.Fatal(err)
	}
	return m, s, transport.Retry(transporttest.Faulty(m, s), nil, transport.RetryPolicy{Clock: new(transporttest.Quick)})
}

func versionsOf(t *testing.T, ep transport.Source, container string) (all []transport.VersionEntry) {
	t.Helper()
	if err := ep.Versions(t.Context(), container, transport.Range{}, func(page []transport.VersionEntry) error {
		all = append(all, page...)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

// Where every write makes a version, one whose reply was lost is found, not made again.
func TestOneVersionForOneWrite(t *testing.T) {
	for _, class := range []transport.Class{transport.Transient, transport.Throttled} {
		m, s, ep := faultyMem(t)
		m.Set("c", "n", []byte("hello"), nil) // an older one with the same bytes
		h := transport.Header{"Content-Type": "a/b", transport.OriginHeader: "paris 1 abc"}
		s.Add(transporttest.Put, transporttest.LoseReply(class))
		rc, err := ep.Put(t.Context(), "c", "n", hello(), transport.PutOptions{Header: h, Versioned: true})
		all := versionsOf(t, m, "c")
		if err != nil || len(all) != 2 || rc.Version != all[0].ID || rc.ETag != md5Hello || rc.Modified.Before(all[0].Modified) {
			t.Errorf("%v: %+v %v, versions %+v", class, rc, err, all)
		}
		// A try that was not carried out is made again.
		s.Add(transporttest.Put, transporttest.Fail(class).Times(2))
		h[transport.OriginHeader] = "paris 2 abc"
		rc, err = ep.Put(t.Context(), "c", "n", hello(), transport.PutOptions{Header: h, Versioned: true})
		all = versionsOf(t, m, "c")
		if err != nil || len(all) != 3 || rc.Version != all[0].ID {
			t.Errorf("%v: %+v %v, versions %+v", class, rc, err, all)
		}
		s.VerifyUsed(t)
	}
}

func TestOneVersionForOneManifest(t *testing.T) {
	for what, f := range map[string]transporttest.Fault{"lost": transporttest.LoseReply(transport.Transient), "refused": transporttest.LoseReply(transport.Transient).Status(503)} {
		m, s, ep := faultyMem(t)
		m.Set("segs", "1", []byte("hello"), nil)
		list := transport.Manifest{{Container: "segs", Name: "1", ETag: md5Hello, Size: 5}}
		s.Add(transporttest.PutRaw, f)
		rc, err := ep.PutRaw(t.Context(), "c", "n", list.Encode(), "", transport.PutOptions{Header: transport.Header{"Content-Type": "a/b"}, Versioned: true})
		all := versionsOf(t, m, "c")
		if err != nil || len(all) != 1 || rc.Version != all[0].ID || all[0].Kind != transport.SLO || s.Count(transporttest.PutRaw) != 1 {
			t.Errorf("%s: %+v %v, versions %+v", what, rc, err, all)
		}
		s.VerifyUsed(t)
	}
	_, _, ep := faultyMem(t)
	_, err := ep.PutRaw(t.Context(), "c", "n", []byte("[{"), "", transport.PutOptions{})
	if err == nil || transport.ClassOf(err) != transport.Permanent {
		t.Errorf("no manifest: %v", err)
	}
}

func TestOneMarkerForOneDelete(t *testing.T) {
	m, s, ep := faultyMem(t)
	m.Set("c", "n", []byte("hello"), nil)
	m.Set("c", "n/x", []byte("hello"), nil)
	s.Add(transporttest.DeleteMarker, transporttest.Fail(transport.Transient), transporttest.LoseReply(transport.Transient))
	rc, err := ep.DeleteMarker(t.Context(), "c", "n")
	all := versionsOf(t, m, "c")
	if err != nil || len(all) != 3 || !all[0].Marker || rc.Version != all[0].ID {
		t.Errorf("%+v %v, versions %+v", rc, err, all)
	}
	s.VerifyUsed(t)
}

// Where it cannot be found out whether a try was carried out, no other one is made: the
// caller hears of it, and one version stands there.
func TestNoSecondVersionUnseen(t *testing.T) {
	list := transport.Manifest{{Container: "segs", Name: "1", ETag: md5Hello, Size: 5}}
	stamped := transport.PutOptions{Header: transport.Header{"Content-Type": "a/b", transport.OriginHeader: "paris 1 abc"}, Versioned: true}
	for what, c := range map[transporttest.Method]struct {
		blind transporttest.Method
		write func(ep transport.Sink) error
	}{
		transporttest.Put: {transporttest.Head, func(ep transport.Sink) error {
			_, err := ep.Put(t.Context(), "c", "n", hello(), stamped)
			return err
		}},
		transporttest.PutRaw: {transporttest.Head, func(ep transport.Sink) error {
			_, err := ep.PutRaw(t.Context(), "c", "n", list.Encode(), "", stamped)
			return err
		}},
		transporttest.DeleteMarker: {transporttest.Versions, func(ep transport.Sink) error {
			_, err := ep.DeleteMarker(t.Context(), "c", "n")
			return err
		}},
	} {
		m, s, ep := faultyMem(t)
		m.Set("segs", "1", []byte("hello"), nil)
		m.Set("c", "n", []byte("older"), nil)
		s.Add(what, transporttest.LoseReply(transport.Throttled))
		s.Add(c.blind, transporttest.Fail(transport.Transient).Times(1000))
		err := c.write(ep)
		if all := versionsOf(t, m, "c"); !transport.Is(err, transport.Transient) || len(all) != 2 || s.Count(what) != 1 {
			t.Errorf("%s: %v, made %d times, versions %+v", what, err, s.Count(what), all)
		}
	}
}

// A listing of versions that breaks anywhere is told whole and once.
func TestVersionsGoOn(t *testing.T) {
	m, s, ep := faultyMem(t)
	for i := range 5 {
		for _, name := range []string{"a", "b", "b/c"} {
			m.Set("c", name, []byte(fmt.Sprint(i)), nil)
		}
		m.Set("c", fmt.Sprint("d", i), nil, nil)
	}
	m.Remove("c", "b")
	want := versionsOf(t, m, "c")
	if len(want) != 21 {
		t.Fatalf("%d versions", len(want))
	}
	for n := range int64(len(want) + 1) {
		s.Add(transporttest.Versions, transporttest.Break(n), transporttest.Break(n/2))
		if got := versionsOf(t, ep, "c"); !slices.Equal(got, want) {
			t.Errorf("broken after %d: %d versions instead of %d: %+v", n, len(got), len(want), got)
		}
	}
	stop := fmt.Errorf("stop")
	if err := ep.Versions(t.Context(), "c", transport.Range{}, func([]transport.VersionEntry) error { return stop }); err != stop { //nolint:errorlint // it must be the very error
		t.Errorf("yield's error comes back as %v", err)
	}
}

// A reader goes on within the version that it was opened on.
func TestReaderResumesAVersion(t *testing.T) {
	m, s, ep := faultyMem(t)
	m.Set("c", "n", []byte(strings.Repeat("old ", 1000)), nil)
	old := versionsOf(t, m, "c")[0].ID
	s.Add(transporttest.Open, transporttest.Break(100), transporttest.Break(7))
	o, r, err := ep.Open(t.Context(), "c", "n", transport.OpenOptions{Length: -1, Version: old})
	if err != nil || o.Version != old {
		t.Fatalf("%+v %v", o, err)
	}
	defer r.Close()
	m.Set("c", "n", []byte("new"), nil)
	if got, err := io.ReadAll(r); err != nil || string(got) != strings.Repeat("old ", 1000) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	s.VerifyUsed(t)
}

// Every other verb is made again after a failure that passes, and not after another.
func TestEveryVerbIsRepeated(t *testing.T) {
	_, s, ep := faultyMem(t)
	ctx := t.Context()
	put := func() string {
		rc, err := ep.Put(ctx, "c", "n", hello(), transport.PutOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return rc.Version
	}
	id := put()
	for m, call := range map[transporttest.Method]func(context.Context) error{
		transporttest.Account: func(ctx context.Context) error { _, err := ep.Account(ctx); return err },
		transporttest.PostAccount: func(ctx context.Context) error {
			return ep.PostAccount(ctx, transport.Header{"X-Account-Meta-A": "b"}, nil)
		},
		transporttest.PostContainer: func(ctx context.Context) error {
			return ep.PostContainer(ctx, "c", transport.Header{"X-Container-Meta-A": "b"}, []string{"X-Container-Meta-B"})
		},
		transporttest.HeadVersion:   func(ctx context.Context) error { _, err := ep.HeadVersion(ctx, "c", "n", id); return err },
		transporttest.Manifest:      func(ctx context.Context) error { _, _, err := ep.Manifest(ctx, "c", "n", id); return err },
		transporttest.Revive:        func(ctx context.Context) error { return ep.Revive(ctx, "c", "n", id) },
		transporttest.DeleteVersion: func(ctx context.Context) error { return ep.DeleteVersion(ctx, "c", "n", "1000000000.00000") },
	} {
		s.Forget()
		s.Add(m, transporttest.Fail(transport.Transient).Times(2))
		if err := call(ctx); err != nil || s.Count(m) != 3 {
			t.Errorf("%s: %v after %d calls", m, err, s.Count(m))
		}
		s.Forget()
		s.Add(m, transporttest.Fail(transport.Denied))
		if err := call(ctx); transport.ClassOf(err) != transport.Denied || err == nil || s.Count(m) != 1 {
			t.Errorf("%s: %v after %d calls", m, err, s.Count(m))
		}
		ended, cancel := context.WithCancel(ctx)
		cancel()
		if err := call(ended); transport.ClassOf(err) != transport.Canceled || s.Count(m) != 1 {
			t.Errorf("%s: %v of an ended context, %d calls", m, err, s.Count(m))
		}
	}
	s.VerifyUsed(t)
}
