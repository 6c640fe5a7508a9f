package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"farshore/integration/lab"
)

// side is one of the two regions of a site.
type side struct {
	cloud string // its name in the clouds file and in rclone's configuration
	creds credentials
	*account
}

// site is two regions to copy between.
type site struct {
	name         string
	clouds       string // clouds.yaml
	rclone       string // rclone.conf
	source, copy side
	fake         *cloudProcess // nil: the lab
	// requests begins to count what is asked of both regions about these containers;
	// the function it returns ends that.
	requests func(containers ...string) (func() (source, copied int64, err error), error)

	latency   time.Duration // of the emulated regions, now
	bandwidth int64
}

// fakeSite emulates two regions in a process of their own.
func fakeSite(ctx context.Context, dir string, o serveOptions) (*site, error) {
	p, err := startCloud(ctx, o)
	if err != nil {
		return nil, err
	}
	s := &site{name: "fakecloud", fake: p, clouds: filepath.Join(dir, "clouds.yaml"), rclone: filepath.Join(dir, "rclone.conf")}
	clouds, rclone := "clouds:\n", ""
	for _, x := range []struct {
		name string
		side *side
	}{{sourceName, &s.source}, {copyName, &s.copy}} {
		r := p.Regions[x.name]
		c := credentials{AuthURL: r.AuthURL, User: "demo", Password: "fakesecret", Project: "demo", Domain: "Default", Region: x.name}
		x.side.cloud, x.side.creds = x.name, c
		x.side.creds.URL = r.Through
		if x.side.account, err = login(ctx, c, setupStreams); err != nil {
			return nil, errors.Join(err, p.close())
		}
		clouds += fmt.Sprintf("  %s:\n    auth: {auth_url: %q, username: %s, password: %s, project_name: %s, user_domain_name: %s, project_domain_name: %s}\n"+
			"    region_name: %s\n", x.name, c.AuthURL, c.User, c.Password, c.Project, c.Domain, c.Domain, c.Region)
		rclone += fmt.Sprintf("[%s]\ntype = swift\nauth = %s\nauth_version = 3\nuser = %s\nkey = %s\ndomain = %s\ntenant = %s\ntenant_domain = %s\nregion = %s\n",
			x.name, c.AuthURL, c.User, c.Password, c.Domain, c.Project, c.Domain, c.Region)
		if r.Through != "" {
			clouds += fmt.Sprintf("    object_store_endpoint_override: %q\n", r.Through)
			rclone += "storage_url = " + r.Through + "\n"
		}
		rclone += "\n"
	}
	s.requests = s.fakeRequests
	return s, errors.Join(os.WriteFile(s.clouds, []byte(clouds), 0o600), os.WriteFile(s.rclone, []byte(rclone), 0o600))
}

// setupStreams is how many requests the benchmark itself makes at once, outside the clock.
const setupStreams = 16

func (s *site) fakeRequests(...string) (func() (int64, int64, error), error) {
	count := func() (n [2]int64, err error) {
		for i, name := range []string{sourceName, copyName} {
			a, err := s.fake.tell(order{Do: "counters", Region: name})
			if err != nil {
				return n, err
			}
			n[i] = a.Requests
		}
		return n, nil
	}
	before, err := count()
	return func() (int64, int64, error) {
		after, err := count()
		return after[0] - before[0], after[1] - before[1], err
	}, err
}

// labSite is two regions of the running lab.
func labSite(ctx context.Context) (*site, error) {
	l, err := lab.Open(ctx)
	if err != nil {
		return nil, fmt.Errorf("the lab is not up (run integration/lab/up): %w", err)
	}
	s := &site{name: "lab", clouds: l.CloudsFile(), rclone: l.RcloneConfig()}
	var logs [2]string
	for i, x := range []*side{&s.source, &s.copy} {
		r := l.Regions()[i]
		x.cloud = l.Cloud(r.Alias, lab.Tenant)
		env := map[string]string{}
		for _, kv := range l.OpenRC(x.cloud) {
			k, v, _ := strings.Cut(kv, "=")
			env[k] = v
		}
		x.creds = credentials{AuthURL: env["OS_AUTH_URL"], User: env["OS_USERNAME"], Password: env["OS_PASSWORD"],
			Project: env["OS_PROJECT_NAME"], Domain: env["OS_USER_DOMAIN_NAME"], Region: r.Name}
		if x.account, err = login(ctx, x.creds, setupStreams); err != nil {
			return nil, err
		}
		logs[i] = filepath.Join(filepath.Dir(l.CloudsFile()), "log", "swift-proxy-"+r.Alias+".log")
	}
	s.requests = func(containers ...string) (func() (int64, int64, error), error) {
		var ends [2]func() (int64, error)
		for i, path := range logs {
			if ends[i], err = logged(path, containers); err != nil {
				return nil, err
			}
		}
		return func() (int64, int64, error) {
			time.Sleep(300 * time.Millisecond) // a proxy writes its line after its answer
			a, aerr := ends[0]()
			b, berr := ends[1]()
			return a, b, errors.Join(aerr, berr)
		}, nil
	}
	return s, nil
}

// logged counts the lines that a proxy's log grows by and that are about these
// containers: one a request of a client. Others may use the lab meanwhile.
func logged(path string, containers []string) (func() (int64, error), error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("count requests: %w", err)
	}
	if _, err := f.Seek(0, io.SeekEnd); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() (n int64, err error) {
		defer func() { _ = f.Close() }()
		raw, err := io.ReadAll(f)
		if err != nil {
			return 0, fmt.Errorf("count requests: %w", err)
		}
		for line := range bytes.Lines(raw) {
			if clientLine(line, containers) {
				n++
			}
		}
		return n, nil
	}, nil
}

// clientLine tells a client's request from one that Swift made to itself ("- -" for
// the client's and the remote address, proxy-logging of Swift 2.30).
func clientLine(line []byte, containers []string) bool {
	f := strings.Fields(string(line))
	if len(f) < 6 || f[1] == "-" {
		return false
	}
	parts := strings.SplitN(f[5], "/", 5)
	if len(parts) < 4 {
		return false
	}
	got, _, _ := strings.Cut(parts[3], "%3F")
	for _, c := range containers {
		if got == c {
			return true
		}
	}
	return false
}

// close ends the emulated regions.
func (s *site) close() error {
	if s.fake != nil {
		return s.fake.close()
	}
	return nil
}

// link sets how both emulated regions are reached.
func (s *site) link(latency time.Duration, bandwidth int64) error {
	for _, name := range []string{sourceName, copyName} {
		if _, err := s.fake.tell(order{Do: "link", Region: name, Latency: latency, Bandwidth: bandwidth}); err != nil {
			return err
		}
	}
	return nil
}

// hinder sets the link for all runs of a row.
func (s *site) hinder(latency time.Duration, bandwidth int64) error {
	s.latency, s.bandwidth = latency, bandwidth
	return s.link(latency, bandwidth)
}

// unhindered does f over a link without delay, and puts the delay back.
func (s *site) unhindered(f func() error) error {
	if s.latency == 0 && s.bandwidth == 0 {
		return f()
	}
	if err := s.link(0, 0); err != nil {
		return err
	}
	return errors.Join(f(), s.link(s.latency, s.bandwidth))
}

// create makes a container.
func (x side) create(ctx context.Context, container string) error {
	return x.call(ctx, http.MethodPut, place(container), http.NoBody, 0)
}

// fill makes the source container with count objects of size random bytes.
func (s *site) fill(ctx context.Context, container string, count int, size int64, synthetic bool) error {
	if s.fake != nil {
		do := "fill"
		if synthetic {
			do = "synthetic"
		}
		if _, err := s.fake.tell(order{Do: do, Region: sourceName, Container: container, Count: count, Size: size}); err != nil {
			return err
		}
		// The first listing of computed objects also computes their MD5s.
		return s.source.pages(ctx, container, func([]entry) error { return nil })
	}
	if err := s.source.create(ctx, container); err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(2)
	if size < 1<<20 {
		g.SetLimit(setupStreams)
	}
	for i := range count {
		g.Go(func() error {
			return s.source.call(gctx, http.MethodPut, place(container, objectName(i)), bytes.NewReader(random(uint64(i), size)), size)
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	got, err := s.source.settled(ctx, container, count) // what a tool does not see it cannot copy
	if err == nil && len(got) != count {
		err = fmt.Errorf("the listing of the source has %d of %d objects", len(got), count)
	}
	return err
}

// drop deletes a container with all its objects, and what a segmented copy keeps beside it.
func (s *site) drop(ctx context.Context, x side, container string) error {
	for _, c := range []string{container + "_segments", container} {
		if s.fake != nil {
			if _, err := s.fake.tell(order{Do: "drop", Region: x.cloud, Container: c}); err != nil {
				return err
			}
			continue
		}
		all, err := x.list(ctx, c)
		if isMissing(err) {
			continue
		}
		if err != nil {
			return err
		}
		g, gctx := errgroup.WithContext(ctx)
		g.SetLimit(setupStreams)
		for _, e := range all {
			g.Go(func() error {
				return x.call(gctx, http.MethodDelete, place(c, e.Name), nil, 0, http.StatusNotFound)
			})
		}
		if err := g.Wait(); err != nil {
			return err
		}
		if err := x.call(ctx, http.MethodDelete, place(c), nil, 0, http.StatusNotFound, http.StatusConflict); err != nil {
			return err
		}
	}
	return nil
}

func isMissing(err error) bool {
	var s *errStatus
	return errors.As(err, &s) && s.status == http.StatusNotFound
}
