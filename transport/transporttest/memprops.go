package transporttest

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"

	"farshore/transport"
)

// Properties of containers and of the account.

func (c *memContainer) bytes() (n int64) {
	for _, o := range c.objects {
		if o.id == "" {
			n += int64(len(o.data))
		}
	}
	for _, all := range c.versions {
		for _, v := range all {
			n += int64(len(v.data))
		}
	}
	return n
}

func (c *memContainer) limit(name string) int64 {
	n, err := strconv.ParseInt(c.header[name], 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// full reports whether the container's own quota is in the way of an object.
func (c *memContainer) full(o *memObject) bool {
	bytes, count := c.limit("X-Container-Meta-Quota-Bytes"), c.limit("X-Container-Meta-Quota-Count")
	return bytes >= 0 && c.bytes()+int64(len(o.data)) > bytes || count >= 0 && int64(len(c.objects)) >= count
}

func (c *memContainer) describe(full bool) transport.ContainerInfo {
	info := transport.ContainerInfo{Name: c.name, QuotaBytes: -1, QuotaObjects: -1, Objects: int64(len(c.objects)), Bytes: c.bytes()}
	if c.lags {
		info.Objects, info.Bytes = int64(len(c.frozen)), 0
		for _, e := range c.frozen {
			info.Bytes += e.Size
		}
	}
	if !full {
		return info
	}
	info.Header, info.Keys = apart(c.header)
	info.QuotaBytes, info.QuotaObjects = c.limit("X-Container-Meta-Quota-Bytes"), c.limit("X-Container-Meta-Quota-Count")
	info.ReadACL, info.Policy = c.header["X-Container-Read"], c.header[transport.PolicyHeader]
	for _, name := range []string{"X-Versions-Location", "X-History-Location"} {
		if c.header[name] != "" {
			info.Versioning = name
		}
	}
	if c.enabled() {
		info.Versioning = "X-Versions-Enabled"
	}
	return info
}

// apart gives properties and secrets each by themselves.
func apart(h transport.Header) (open, keys transport.Header) {
	open, keys = transport.Header{}, transport.Header{}
	for k, v := range h {
		if transport.IsKey(k) {
			keys[k] = v
		} else {
			open[k] = v
		}
	}
	return open, keys
}

// CreateContainer implements transport.Sink.
func (m *Mem) CreateContainer(ctx context.Context, container string, h transport.Header) error {
	const op = "create container"
	if err := m.canceled(ctx, op, container, ""); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if container == "" || len(container) > m.abilities.MaxContainerName || strings.Contains(container, "/") {
		return m.fail(op, container, "", transport.Permanent, 400, "400 Bad Request: no such name is possible")
	}
	policy := h[transport.PolicyHeader]
	c := m.containers[container]
	fresh := c == nil
	switch {
	case policy != "" && !slices.Contains(m.o.Policies, policy):
		return m.fail(op, container, "", transport.Permanent, 400, "400 Bad Request: Invalid X-Storage-Policy %q", policy)
	case !fresh && policy != "" && policy != c.header[transport.PolicyHeader]:
		return m.fail(op, container, "", transport.Permanent, 409, "409 Conflict: the container is in another storage policy")
	case fresh:
		c = &memContainer{name: container, header: transport.Header{transport.PolicyHeader: cmp.Or(policy, m.o.Policies[0])},
			objects: map[string]*memObject{}, versions: map[string][]*memObject{}}
	}
	if err := m.change(op, container, c.header, h, nil, transport.KeepsContainer); err != nil {
		return err
	}
	m.containers[container] = c
	return nil
}

// PostContainer implements transport.Sink.
func (m *Mem) PostContainer(ctx context.Context, container string, set transport.Header, remove []string) error {
	const op = "post container"
	if err := m.canceled(ctx, op, container, ""); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.containers[container]
	if c == nil {
		return m.missing(op, container, "")
	}
	if set[transport.PolicyHeader] != "" {
		return m.fail(op, container, "", transport.Permanent, 0, "a container's storage policy cannot be changed")
	}
	return m.change(op, container, c.header, set, remove, transport.KeepsContainer)
}

// Account implements transport.Source.
func (m *Mem) Account(ctx context.Context) (transport.AccountInfo, error) {
	if err := m.canceled(ctx, "head account", "", ""); err != nil {
		return transport.AccountInfo{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	info := transport.AccountInfo{Containers: int64(len(m.containers)), Bytes: m.used()}
	for _, c := range m.containers {
		info.Objects += int64(len(c.objects))
	}
	info.Header, info.Keys = apart(m.header)
	if m.quota >= 0 {
		info.Header["X-Account-Meta-Quota-Bytes"] = strconv.FormatInt(m.quota, 10)
	}
	return info, nil
}

// PostAccount implements transport.Sink. The quota is the operator's (SetQuota).
func (m *Mem) PostAccount(ctx context.Context, set transport.Header, remove []string) error {
	const op = "post account"
	if err := m.canceled(ctx, op, "", ""); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if set["X-Account-Meta-Quota-Bytes"] != "" {
		return m.fail(op, "", "", transport.Denied, 403, "403 Forbidden")
	}
	return m.change(op, "", m.header, set, remove, transport.KeepsAccount)
}

// change sets and removes properties as Swift does; the lock is held.
func (m *Mem) change(op, container string, of, set transport.Header, remove []string, keeps func(string) bool) error {
	for k := range set {
		if !keeps(k) {
			return m.fail(op, container, "", transport.Permanent, 0, "%q is no property that is kept", k)
		}
	}
	for _, k := range remove {
		if !keeps(k) || k == transport.PolicyHeader {
			return m.fail(op, container, "", transport.Permanent, 0, "%q is no property that can be removed", k)
		}
	}
	legacy := set["X-Versions-Location"] + set["X-History-Location"]
	switch {
	case set["X-Versions-Location"] != "" && set["X-History-Location"] != "",
		legacy != "" && (of["X-Versions-Enabled"] == "True" || isTrue(set["X-Versions-Enabled"])),
		isTrue(set["X-Versions-Enabled"]) && of["X-Versions-Location"]+of["X-History-Location"] != "":
		return m.fail(op, container, "", transport.Permanent, 400, "400 Bad Request: there is one way of versioning for a container")
	case legacy != "":
		delete(of, "X-Versions-Location")
		delete(of, "X-History-Location")
	}
	for k, v := range set {
		switch {
		case k == "X-Versions-Enabled":
			of[k] = map[bool]string{true: "True", false: "False"}[isTrue(v)]
		case v == "":
			delete(of, k)
		default:
			of[k] = v
		}
	}
	for _, k := range remove {
		if k == "X-Versions-Enabled" {
			of[k] = "False"
		} else {
			delete(of, k)
		}
	}
	return nil
}

func isTrue(v string) bool {
	switch strings.ToLower(v) {
	case "true", "1", "yes", "on", "t", "y":
		return true
	}
	return false
}

// DeleteContainer implements transport.Sink.
func (m *Mem) DeleteContainer(ctx context.Context, container string) error {
	if err := m.canceled(ctx, "delete container", container, ""); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if c := m.containers[container]; c != nil && len(c.objects)+len(c.versions) > 0 {
		return m.fail("delete container", container, "", transport.Permanent, 409, "409 Conflict")
	}
	delete(m.containers, container)
	return nil
}
