package fakecloud

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Profile is the kind of object store that a region speaks like.
type Profile string

const (
	// Swift behaves as OpenStack Swift 2.30.
	Swift Profile = "swift"
	// RGW behaves as Ceph RGW's Swift API where that is known to differ: a NUL in
	// a marker is refused, If-None-Match on PUT and Etag on COPY are ignored,
	// listings have milliseconds, large objects' ETags are unquoted.
	RGW Profile = "rgw"
)

// RegionOptions describes one region. Zero values mean: no delay, no limit.
type RegionOptions struct {
	Name    string
	Profile Profile // default Swift
	// Latency is added once to each request, before it is looked at: one round trip.
	Latency time.Duration
	// Bandwidth in bytes per second, shared by all bodies in both directions.
	Bandwidth int64
	// Listen is the Swift address; default 127.0.0.1:0.
	Listen string
	// KeystoneListen is the address of the region's own Keystone (unless shared).
	KeystoneListen string
	// Policies are the storage policies; the first is the default. Default Policy-0.
	Policies []string
	// StaticWeb serves containers with X-Container-Meta-Web-* to those without a
	// token as web sites, as Swift's staticweb middleware does.
	StaticWeb bool
	// AsyncDelete allows multipart-manifest=delete&async=yes.
	AsyncDelete bool
	// CopyRate slows server-side copies of large objects to that many bytes per
	// second; 0 means as fast as MD5 allows. A real Swift does about 100 MB/s (L1).
	CopyRate int64
	// Block is the region's Cinder.
	Block BlockOptions
}

// Options describes a cloud. The zero value gives two regions, RegionOne and
// RegionTwo, each with a Keystone of its own.
type Options struct {
	Regions []RegionOptions
	// SharedKeystone gives all regions one Keystone, so that project ids and
	// account names are the same in all of them.
	SharedKeystone bool
	// KeystoneListen is the shared Keystone's address; default 127.0.0.1:0.
	KeystoneListen string
	// TokenLife is how long a token is good, by Clock; default one hour.
	TokenLife time.Duration
	// Clock is what services call the time; default time.Now. Latency and
	// bandwidth run on real time.
	Clock func() time.Time
}

// The identities every Keystone knows. All passwords are Password.
const (
	Password       = "fakesecret"
	User           = "demo"    // member of Project
	Project        = "demo"    //
	OtherUser      = "other"   // member of OtherProject
	OtherProject   = "other"   //
	ReaderUser     = "reader"  // reader in Project
	AdminUser      = "admin"   // admin and ResellerAdmin in both projects
	AppCredName    = "demoapp" // application credential of User in Project
	AppCredSecret  = "fakeappsecret"
	defaultDomain  = "Default"
	defaultDomainI = "default"
)

// Cloud is a running emulation. All methods are safe for concurrent use.
type Cloud struct {
	opts      Options
	regions   []*Region
	keystones []*keystone
}

// Start brings the regions up on 127.0.0.1. The caller must Close the cloud.
func Start(opts Options) (*Cloud, error) {
	if len(opts.Regions) == 0 {
		opts.Regions = []RegionOptions{{Name: "RegionOne"}, {Name: "RegionTwo"}}
	}
	if opts.Clock == nil {
		opts.Clock = time.Now
	}
	if opts.TokenLife == 0 {
		opts.TokenLife = time.Hour
	}
	c := &Cloud{opts: opts}
	if err := c.start(); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *Cloud) start() error {
	var shared *keystone
	seen := map[string]bool{}
	for _, ro := range c.opts.Regions {
		if ro.Name == "" || seen[ro.Name] {
			return fmt.Errorf("start cloud: region name %q is empty or repeated", ro.Name)
		}
		seen[ro.Name] = true
		if ro.Profile == "" {
			ro.Profile = Swift
		}
		if ro.Profile != Swift && ro.Profile != RGW {
			return fmt.Errorf("start region %s: unknown profile %q", ro.Name, ro.Profile)
		}
		if len(ro.Policies) == 0 {
			ro.Policies = []string{"Policy-0"}
		}
		ks := shared
		if ks == nil {
			addr := ro.KeystoneListen
			if c.opts.SharedKeystone {
				addr = c.opts.KeystoneListen
			}
			var err error
			if ks, err = newKeystone(ro.Name, addr, c.opts); err != nil {
				return fmt.Errorf("start keystone of %s: %w", ro.Name, err)
			}
			c.keystones = append(c.keystones, ks)
			if c.opts.SharedKeystone {
				shared = ks
			}
		}
		r := newRegion(c, ro, ks)
		if !ro.Block.Off {
			var err error
			if r.block, err = newCinder(r, ro.Block); err != nil {
				return fmt.Errorf("start cinder of %s: %w", ro.Name, err)
			}
		}
		if err := r.Start(); err != nil {
			return fmt.Errorf("start region %s: %w", ro.Name, err)
		}
		c.regions = append(c.regions, r)
		ks.addRegion(ksRegion{name: ro.Name, url: r.URL(), block: r.block != nil})
	}
	return nil
}

// Close stops everything; data is gone.
func (c *Cloud) Close() error {
	var errs []error
	for _, r := range c.regions {
		errs = append(errs, r.Stop())
	}
	for _, k := range c.keystones {
		errs = append(errs, k.srv.stop())
	}
	return errors.Join(errs...)
}

// Region returns the region of that name, or nil.
func (c *Cloud) Region(name string) *Region {
	for _, r := range c.regions {
		if r.opts.Name == name {
			return r
		}
	}
	return nil
}

// Regions returns all regions in the order of the options.
func (c *Cloud) Regions() []*Region { return append([]*Region(nil), c.regions...) }

// CloudsYAML writes dir/clouds.yaml (mode 0600) and returns its path. Entries
// for each region R: R (User in Project), R-other (the second project), R-reader
// (role reader: writes are 403), R-admin, R-appcred (application credential).
func (c *Cloud) CloudsYAML(dir string) (string, error) {
	var b strings.Builder
	b.WriteString("clouds:\n")
	for _, r := range c.regions {
		name := r.opts.Name
		for _, e := range []struct{ suffix, user, project string }{
			{"", User, Project}, {"-other", OtherUser, OtherProject},
			{"-reader", ReaderUser, Project}, {"-admin", AdminUser, Project},
		} {
			fmt.Fprintf(&b, "  %s:\n    auth:\n      auth_url: %s\n      username: %s\n      password: %s\n"+
				"      project_name: %s\n      user_domain_name: Default\n      project_domain_name: Default\n"+
				"    region_name: %s\n    interface: public\n    identity_api_version: 3\n",
				name+e.suffix, r.AuthURL(), e.user, Password, e.project, name)
		}
		fmt.Fprintf(&b, "  %s-appcred:\n    auth_type: v3applicationcredential\n    auth:\n      auth_url: %s\n"+
			"      application_credential_id: %s\n      application_credential_secret: %s\n"+
			"    region_name: %s\n    interface: public\n    identity_api_version: 3\n",
			name, r.AuthURL(), r.ks.appCredID(), AppCredSecret, name)
	}
	path := filepath.Join(dir, "clouds.yaml")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		return "", fmt.Errorf("write clouds file: %w", err)
	}
	return path, nil
}
