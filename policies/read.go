package policies

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Load reads and checks a policy file. What is wrong with its content comes as
// Errors; any other error means the file could not be read.
func Load(path string) (*File, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read policy file: %w", err)
	}
	return Parse(path, data)
}

// Parse reads and checks a policy file given as bytes; name stands for it in
// messages. On problems it returns Errors and no file.
func Parse(name string, data []byte) (*File, error) {
	f := &File{Name: name, Timezone: time.UTC, Regions: map[string]Region{}, at: map[string]position{}, bad: marks{}}
	f.Limits = Limits{Streams: DefaultStreams, Memory: DefaultMemory, Pairs: map[string]Rate{}}
	r := &reader{file: name, at: f.at, bad: f.bad}
	if body := r.parse(data); body != nil {
		r.root(f, r.child(value{}, "", body, position{1, 1}))
		r.problems = append(r.problems, f.check()...)
	}
	if len(r.problems) > 0 {
		slices.SortStableFunc(r.problems, func(a, b Problem) int {
			return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
		})
		return nil, r.problems
	}
	return f, nil
}

func (r *reader) root(f *File, v value) {
	var list value
	given := r.fields(v, "a mapping with regions and policies",
		field{"timezone", unit(r, &f.Timezone, parseZone)},
		field{"regions", r.regions(f.Regions)},
		field{"ledger", r.text(&f.Ledger)},
		field{"control_group", r.text(&f.ControlGroup)},
		field{"limits", r.limits(&f.Limits)},
		field{"webhooks", r.webhooks(&f.Webhooks)},
		field{"policies", func(v value) { list = v }},
	)
	f.Limits.Timezone = f.Timezone
	if given == nil {
		return
	}
	if _, ok := given["regions"]; !ok && !r.bad["regions"] {
		r.problem(value{path: "regions", at: v.at}, "is missing", "name the regions, as in regions: {paris: {cloud: paris}, lyon: {cloud: lyon}}")
	}
	if list.node == nil {
		return
	}
	items := r.items(list, "policies")
	for _, item := range items {
		f.Policies = append(f.Policies, r.policy(f, item))
	}
}

var goodName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

const nameRule = "letters, digits, dots, dashes and underscores, at most 64, the first a letter or digit"

func (r *reader) regions(out map[string]Region) func(value) {
	return func(v value) {
		list, _ := r.entries(v, "a mapping of region names")
		for _, e := range list {
			g := Region{Name: e.key, Cloud: e.key}
			if !goodName.MatchString(e.key) {
				r.problem(value{path: e.path, at: e.at}, fmt.Sprintf("%q cannot name a region", e.key), nameRule)
			}
			if !e.absent() {
				r.fields(e.value, "a mapping such as {cloud: paris}",
					field{"cloud", r.text(&g.Cloud)},
					field{"region", r.text(&g.RegionName)},
					field{"interface", r.oneOf(&g.Interface, "public", "internal", "admin")},
					field{"import_cloud", r.text(&g.ImportCloud)},
					field{"endpoint", unit(r, &g.Endpoint, parseEndpoint)},
				)
			}
			out[e.key] = g
		}
		if len(list) == 0 && !r.bad[v.path] {
			r.problem(v, "names no region", "")
		}
	}
}

func (r *reader) limits(l *Limits) func(value) {
	return func(v value) {
		r.fields(v, "a mapping such as {total: 400MiB/s}",
			field{"total", unit(r, &l.Total, ParseRate)},
			field{"streams", r.count(&l.Streams, 1, 1024)},
			field{"memory", unit(r, &l.Memory, ParseSize)},
			field{"timetable", func(v value) {
				list := r.items(v, "windows")
				for _, item := range list {
					var s Slot
					unit(r, &s, ParseSlot)(item)
					l.Timetable = append(l.Timetable, s)
				}
			}},
			field{"pairs", func(v value) {
				list, _ := r.entries(v, `a mapping such as {"paris->lyon": 50MiB/s}`)
				for _, e := range list {
					rate, key := Rate(0), e.key
					if from, to, ok := strings.Cut(key, "->"); ok {
						key = PairKey(strings.TrimSpace(from), strings.TrimSpace(to))
					} else {
						r.problem(value{path: e.path, at: e.at}, fmt.Sprintf("%q is not a pair of regions", e.key), `write "paris->lyon"`)
					}
					unit(r, &rate, ParseRate)(e.value)
					l.Pairs[key] = rate
				}
			}},
		)
	}
}

// containerOnly and volumeOnly are the keys of a policy that mean something for
// one kind of policy only.
var (
	containerOnly = []string{"containers", "container", "place", "watch", "prefix", "deletes", "brake", "large", "properties", "map", "stamp", "takeover", "bidirectional"}
	volumeOnly    = []string{"volumes", "snapshot", "keep", "keep_source", "volume_types", "drill", "max_chain", "full_every"}
)

func (r *reader) policy(f *File, v value) Policy {
	p := NewPolicy("", "")
	p.Timezone, p.Replicas, p.Every = f.Timezone, -1, 0
	given := r.fields(v, "a mapping such as {name: assets, from: paris, to: [lyon], containers: [assets]}",
		field{"name", r.text(&p.Name)},
		field{"from", r.text(&p.From)},
		field{"to", r.texts(&p.To, "region names")},
		field{"replicas", r.count(&p.Replicas, 1, 1000)},
		field{"place", r.place(&p.Place)},
		field{"containers", r.texts(&p.Containers, "container names and patterns")},
		field{"container", r.text(&p.Container)},
		field{"prefix", r.text(&p.Prefix)},
		field{"every", unit(r, &p.Every, parsePositive)},
		field{"watch", unit(r, &p.Watch, parsePositive)},
		field{"schedule", unit(r, &p.Schedule, ParseSchedule)},
		field{"timezone", unit(r, &p.Timezone, parseZone)},
		field{"rpo", unit(r, &p.RPO, parsePositive)},
		field{"deletes", r.deletes(&p.Deletes)},
		field{"brake", r.brake(&p.Brake)},
		field{"audit", r.audit(&p.Audit)},
		field{"large", r.large(&p.Large)},
		field{"limit", unit(r, &p.Limit, ParseRate)},
		field{"properties", r.properties(&p.Properties)},
		field{"map", r.maps(&p.Map)},
		field{"stamp", r.flag(&p.Stamp)},
		field{"takeover", r.flag(&p.Takeover)},
		field{"bidirectional", r.flag(&p.Bidirectional)},
		field{"strict", r.flag(&p.Strict)},
		field{"accept", r.texts(&p.Accept, "kinds of findings")},
		field{"volumes", r.volumes(&p.Volumes)},
		field{"snapshot", r.snapshot(&p.Snapshot)},
		field{"keep", r.keep(&p.Keep)},
		field{"keep_source", r.keep(&p.KeepSource)},
		field{"volume_types", r.stringMap(&p.VolumeTypes)},
		field{"drill", r.drill(&p.Drill)},
		field{"max_chain", r.maxChain(&p.MaxChain)},
		field{"full_every", unit(r, &p.FullEvery, parseOrNever)},
	)
	if given == nil {
		return p
	}
	if p.Replicas < 0 {
		p.Replicas = len(p.To)
	}
	if p.Place != nil && p.Place.Copies == 0 {
		p.Place.Copies = p.Replicas
	}
	if p.Every == 0 && p.Schedule.IsZero() && !r.bad[v.path+".schedule"] {
		p.Every = DefaultEvery
	}
	r.combination(v, given)
	return p
}

// combination refuses keys that cannot stand together, or not without another.
func (r *reader) combination(v value, given map[string]position) {
	missing := func(key, hint string) {
		if _, ok := given[key]; !ok && !r.bad[v.path+"."+key] {
			r.problem(value{path: v.path + "." + key, at: v.at}, "is missing", hint)
		}
	}
	missing("name", "a policy needs a name for status and messages")
	missing("from", "name the region that is copied")
	missing("to", "list the regions that hold the copies, as in [lyon]")
	if at, ok := given["every"]; ok {
		if other, both := given["schedule"]; both {
			r.problem(value{path: v.path + ".schedule", at: other}, fmt.Sprintf("cannot stand beside every (line %d)", at.line), "remove one")
		}
	}
	_, volumes := given["volumes"]
	if volumes {
		r.refuse(v, given, containerOnly, "has no meaning in a policy of volumes", "make a policy of its own for containers")
		return
	}
	if r.bad[v.path+".volumes"] {
		return
	}
	r.refuse(v, given, volumeOnly[1:], "has a meaning only beside volumes", "")
	missing("containers", `list names or patterns, as in ["assets-*", "!assets-tmp"], or give volumes`)
}

func (r *reader) refuse(v value, given map[string]position, keys []string, message, hint string) {
	for _, key := range keys {
		if at, ok := given[key]; ok {
			r.problem(value{path: v.path + "." + key, at: at}, message, hint)
		}
	}
}

func (r *reader) deletes(d *Deletes) func(value) {
	return func(v value) {
		given := r.fields(v, "a mapping such as {propagate: true, after: 24h}",
			field{"propagate", r.flag(&d.Propagate)},
			field{"after", unit(r, &d.After, ParseDuration)},
		)
		if at, ok := given["after"]; ok && !r.bad[v.path+".propagate"] {
			if _, ok := given["propagate"]; !ok {
				r.problem(value{path: v.path + ".after", at: at}, "has no effect: deletes are not propagated", "add propagate: true")
			}
		}
	}
}

func (r *reader) brake(b *Brake) func(value) {
	return func(v value) {
		r.fields(v, "a mapping such as {deletes: 5%, overwrites: off, at_least: 100}",
			field{"deletes", unit(r, &b.Deletes, ParseShare)},
			field{"overwrites", unit(r, &b.Overwrites, ParseShare)},
			field{"at_least", r.count(&b.AtLeast, 0, 1_000_000_000)},
		)
	}
}

func (r *reader) audit(a *Audit) func(value) {
	return func(v value) {
		if raw, ok := rawText(v.node); ok && raw == "off" {
			*a = Audit{}
			return
		}
		share := Off
		r.fields(v, "a mapping such as {every: 24h, read: 1%}, or off",
			field{"every", unit(r, &a.Every, parsePositive)},
			field{"read", unit(r, &share, ParseShare)},
			field{"read_all_in", unit(r, &a.ReadAll, parsePositive)},
		)
		a.Read = max(float64(share), 0)
	}
}

func (r *reader) large(l *Large) func(value) {
	return func(v value) {
		as := string(l.As)
		r.fields(v, "a mapping such as {as: exact, over: 64MiB, chunk: 8MiB}",
			field{"as", r.oneOf(&as, string(Exact), string(Segmented))},
			field{"over", unit(r, &l.Over, ParseSize)},
			field{"chunk", unit(r, &l.Chunk, ParseSize)},
		)
		l.As = LargeAs(as)
	}
}

func (r *reader) properties(out *Properties) func(value) {
	return func(v value) {
		r.fields(v, "a mapping such as {containers: true, account: [metadata, quotas]}",
			field{"containers", r.flag(&out.Containers)},
			field{"tempurl_keys", r.flag(&out.TempURLKeys)},
			field{"account", func(v value) {
				for _, item := range r.items(v, "properties of the account") {
					var word string
					r.oneOf(&word, AccountMetadata, AccountQuotas)(item)
					out.Account = append(out.Account, word)
				}
			}},
		)
	}
}

func (r *reader) maps(out *Map) func(value) {
	return func(v value) {
		r.fields(v, "a mapping such as {projects: {0123: 4567}}",
			field{"projects", r.stringMap(&out.Projects)},
			field{"users", r.stringMap(&out.Users)},
			field{"storage_policies", r.stringMap(&out.StoragePolicies)},
		)
	}
}

func (r *reader) volumes(out **Volumes) func(value) {
	return func(v value) {
		got := &Volumes{}
		*out = got
		if raw, ok := rawText(v.node); ok && raw == "all" {
			got.All = true
			return
		}
		given := r.fields(v, "all, or a mapping with one of ids, names, metadata",
			field{"all", r.flag(&got.All)},
			field{"ids", r.texts(&got.IDs, "volume ids")},
			field{"names", r.texts(&got.Names, "volume names")},
			field{"metadata", r.stringMap(&got.Metadata)},
		)
		if given != nil && !r.bad[v.path] && (len(given) != 1 || !got.All && len(got.IDs)+len(got.Names)+len(got.Metadata) == 0) && !r.bad.under(v.path) {
			r.problem(v, "must select by exactly one of all, ids, names, metadata", "")
		}
	}
}

func (r *reader) snapshot(out **Snapshot) func(value) {
	return func(v value) {
		got := &Snapshot{}
		*out = got
		given := r.fields(v, "a mapping such as {every: 1h}", field{"every", unit(r, &got.Every, parsePositive)})
		if _, ok := given["every"]; given != nil && !ok && !r.bad.under(v.path) {
			r.problem(v, "every is missing", "leave snapshot out to only watch for snapshots others make")
		}
	}
}

func (r *reader) keep(out **Keep) func(value) {
	return func(v value) {
		k := &Keep{}
		*out = k
		given := r.fields(v, "a mapping such as {last: 24, daily: 7}",
			field{"last", r.count(&k.Last, 0, maxCount)},
			field{"hourly", r.count(&k.Hourly, 0, maxCount)},
			field{"daily", r.count(&k.Daily, 0, maxCount)},
			field{"weekly", r.count(&k.Weekly, 0, maxCount)},
			field{"monthly", r.count(&k.Monthly, 0, maxCount)},
			field{"yearly", r.count(&k.Yearly, 0, maxCount)},
		)
		if given != nil && *k == (Keep{}) && !r.bad.under(v.path) {
			r.problem(v, "keeps nothing", "give at least one number above 0; leave the key out to keep everything")
		}
	}
}

func (r *reader) maxChain(out *MaxChain) func(value) {
	return func(v value) {
		r.fields(v, "a mapping such as {source: 30, destination: 8}",
			field{"source", r.count(&out.Source, 0, maxChain)},
			field{"destination", r.count(&out.Destination, 0, maxChain)},
		)
	}
}

func (r *reader) drill(out **Drill) func(value) {
	return func(v value) {
		got := &Drill{}
		*out = got
		given := r.fields(v, `a mapping such as {schedule: "0 3 * * sun"}`, field{"schedule", unit(r, &got.Schedule, ParseSchedule)})
		if _, ok := given["schedule"]; given != nil && !ok && !r.bad.under(v.path) {
			r.problem(v, "schedule is missing", `as in {schedule: "0 3 * * sun"}`)
		}
	}
}

// stringMap reads a mapping of texts to texts.
func (r *reader) stringMap(out *map[string]string) func(value) {
	return func(v value) {
		list, ok := r.entries(v, "a mapping of text to text")
		if ok && len(list) == 0 {
			r.problem(v, "is empty", "")
		}
		*out = map[string]string{}
		for _, e := range list {
			var s string
			if e.absent() {
				r.problem(e.value, "has no value", "")
				continue
			}
			r.text(&s)(e.value)
			(*out)[e.key] = s
		}
	}
}

// oneOf reads one of a few words.
func (r *reader) oneOf(out *string, words ...string) func(value) {
	return func(v value) {
		raw, _ := rawText(v.node)
		if slices.Contains(words, raw) {
			*out = raw
			return
		}
		if r.bad[v.path] {
			return
		}
		hint := ""
		if meant := nearest(raw, words); meant != "" && raw != "" {
			hint = fmt.Sprintf("did you mean %s?", meant)
		}
		r.problem(v, "must be one of "+strings.Join(words, ", "), hint)
	}
}

func parsePositive(text string) (time.Duration, error) {
	d, err := ParseDuration(text)
	if err == nil && d < time.Second {
		err = errors.New("must be at least 1s")
	}
	return d, err
}

// parseOrNever is parsePositive where 0 stands for never.
func parseOrNever(text string) (time.Duration, error) {
	if d, err := ParseDuration(text); err == nil && d == 0 {
		return 0, nil
	}
	return parsePositive(text)
}

func parseZone(text string) (*time.Location, error) {
	if text == "" || text == "Local" {
		return nil, errors.New("name the zone (as in Europe/Paris or UTC)")
	}
	zone, err := time.LoadLocation(text)
	if err != nil {
		return nil, fmt.Errorf("%q is no timezone of the IANA database (as in Europe/Paris or UTC)", text)
	}
	return zone, nil
}

func parseEndpoint(text string) (string, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return "", errors.New("must be the URL of the object store (as in https://swift.lyon.example/v1/AUTH_0123)")
	case u.User != nil:
		return "", errors.New("must hold no password (credentials belong in clouds.yaml)")
	case u.RawQuery != "" || u.Fragment != "":
		return "", errors.New("must have no query and no fragment")
	}
	return strings.TrimRight(text, "/"), nil
}
