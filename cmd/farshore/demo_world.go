package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"farshore/integration/fakecloud"
)

const (
	demoContainer = "photos"
	demoLargeSize = 70 << 20 // above what travels as one request, so it is cut
	demoLargest   = 16 << 10 // of the small ones
	demoFewest    = 100
)

// demoPolicy is what should be true. Eight streams bound what a kill may cost.
const demoPolicy = `regions:
  paris: {}          # entries of clouds.yaml
  lyon: {}
  berlin: {}
ledger: ledger.db
limits: {streams: 8}
policies:
  - name: photos
    from: paris
    to: [lyon, berlin]
    replicas: 2      # how many of them must hold a confirmed copy
    containers: [photos]
    large: {over: 64MiB, chunk: 1MiB}
`

// demoStreams and demoChunk are those of the policy.
const (
	demoStreams = 8
	demoChunk   = 1 << 20
)

// demoNames are names that clients have been seen to lose, change or confuse.
func demoNames() []string {
	return []string{"100% été ☃.jpg", "a//b.jpg", "../up.jpg", "./dot.jpg", "/lead.jpg", "dir/", " space ", "%41%2F.jpg", "q?x=y&z#h.jpg", "plus+plus;semi.jpg",
		"new\nline.jpg", "tab\there.jpg", `quo"te\back.jpg`, "<tag>*'.jpg", "a\u0301.jpg", "\u00e1.jpg", "\U0001F600.jpg", "\u202eright.jpg", strings.Repeat("é", 512)}
}

// demoWorld is the emulated regions and the folder that farshore runs in.
type demoWorld struct {
	keep                bool
	cloud               *fakecloud.Cloud
	paris, lyon, berlin *fakecloud.Region
	dir, exe, clouds    string
	objects, bytes      int64 // of the source at the beginning
	small               []string
	db                  *fakecloud.BlockVolume // of paris
}

// startDemo brings the regions up, fills the first, and writes the files that a user
// would have: clouds.yaml and farshore.yaml.
func startDemo(objects int, keep bool) (w *demoWorld, err error) {
	w = &demoWorld{keep: keep}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close())
		}
	}()
	if w.exe, err = os.Executable(); err != nil {
		return w, fmt.Errorf("find this program: %w", err)
	}
	if w.dir, err = os.MkdirTemp("", "farshore-demo-"); err != nil {
		return w, &hintError{op: "make a temporary folder in", item: os.TempDir(), err: err, hint: "set TMPDIR to a folder that can be written to"}
	}
	w.cloud, err = fakecloud.Start(fakecloud.Options{Regions: []fakecloud.RegionOptions{
		{Name: "paris", Block: demoBlocks()}, {Name: "lyon", Block: demoBlocks()}, {Name: "berlin", Block: demoBlocks()}}})
	if err != nil {
		return w, err
	}
	w.paris, w.lyon, w.berlin = w.cloud.Region("paris"), w.cloud.Region("lyon"), w.cloud.Region("berlin")
	if w.clouds, err = w.cloud.CloudsYAML(w.dir); err != nil {
		return w, err
	}
	if err = os.WriteFile(filepath.Join(w.dir, "farshore.yaml"), []byte(demoPolicy), 0o600); err != nil {
		return w, fmt.Errorf("write policy file: %w", err)
	}
	w.fill(objects)
	return w, w.addVolume()
}

// fill puts the same objects into paris in every run: hostile names, two large ones,
// and small ones around them.
func (w *demoWorld) fill(objects int) {
	rng := rand.NewChaCha8([32]byte{1})
	put := func(name string, size int, headers map[string]string) {
		data := make([]byte, size)
		_, _ = rng.Read(data) // never fails
		w.paris.Put(demoContainer, name, data, headers)
		w.objects++
		w.bytes += int64(size)
	}
	for i, name := range demoNames() {
		put(name, 100*(len(demoNames())-1-i), map[string]string{"Content-Type": "image/jpeg", "X-Object-Meta-Owner": "Zoë"})
	}
	for i := range 2 {
		put(fmt.Sprintf("2027/film %d.mov", i+1), demoLargeSize, map[string]string{"Content-Type": "video/quicktime", "X-Object-Meta-Camera": "A"})
	}
	for i := int(w.objects); i < objects; i++ {
		name := fmt.Sprintf("20%02d/%03d/IMG_%05d.jpg", 20+i%10, i%100, i)
		put(name, i*2654435761%demoLargest, map[string]string{"Content-Type": "image/jpeg", "X-Object-Meta-N": strconv.Itoa(i)})
		w.small = append(w.small, name)
	}
}

// close stops the regions and removes the folder, unless it is to be kept.
func (w *demoWorld) close() error {
	var errs []error
	if w.cloud != nil {
		errs = append(errs, w.cloud.Close())
	}
	if w.dir != "" && !w.keep {
		errs = append(errs, os.RemoveAll(w.dir))
	}
	return errors.Join(errs...)
}

func (w *demoWorld) names() []string {
	var out []string
	for _, r := range w.cloud.Regions() {
		out = append(out, r.Name())
	}
	return out
}

func (w *demoWorld) replicas() []*fakecloud.Region { return []*fakecloud.Region{w.lyon, w.berlin} }

// copies counts the objects that are there at the replicas.
func (w *demoWorld) copies() (n int64) {
	for _, r := range w.replicas() {
		n += int64(len(r.Names(demoContainer)))
	}
	return n
}

// received adds up the bytes that the replicas were sent so far, by their counters.
func (w *demoWorld) received() (bytes int64) {
	for _, r := range w.replicas() {
		bytes += r.Counters().Of(fakecloud.ClassObject, "PUT").In
	}
	return bytes
}

// sent adds up the bytes of objects and segments that the replicas were sent, by their
// request logs; manifests are not content.
func (w *demoWorld) sent() (bytes int64) {
	for _, r := range w.replicas() {
		for _, e := range r.Requests() {
			if e.Method == "PUT" && e.Class == fakecloud.ClassObject && !strings.Contains(e.Query, "multipart-manifest=put") {
				bytes += e.In
			}
		}
	}
	return bytes
}

// asked counts the requests that the regions' object stores got.
func asked(regions ...*fakecloud.Region) (n int64) {
	for _, r := range regions {
		n += r.Counters().Total().Requests
	}
	return n
}

// compare holds every object of the replicas against the source's in memory: names,
// bytes, ETags, types and metadata. It shares no code with what copied them.
func (w *demoWorld) compare() (objects, size int64, err error) {
	names := w.paris.Names(demoContainer)
	for _, r := range w.replicas() {
		if got := r.Names(demoContainer); !slices.Equal(got, names) {
			return 0, 0, fmt.Errorf("%s has %d objects, paris %d", r.Name(), len(got), len(names))
		}
		if left := r.Names(".farshore-segments"); len(left) > 0 {
			return 0, 0, fmt.Errorf("%s still has %d segments", r.Name(), len(left))
		}
	}
	for _, name := range names {
		from, _ := w.paris.Get(demoContainer, name)
		want := from.Bytes()
		for _, r := range w.replicas() {
			to, ok := r.Get(demoContainer, name)
			if !ok || to.ETag != from.ETag || to.ContentType != from.ContentType || !bytes.Equal(to.Bytes(), want) {
				return 0, 0, fmt.Errorf("%q at %s is not the one of paris", name, r.Name())
			}
			for k := range from.Header {
				if to.Header.Get(k) != from.Header.Get(k) {
					return 0, 0, fmt.Errorf("%q at %s has %s: %q", name, r.Name(), k, to.Header.Get(k))
				}
			}
		}
		objects++
		size += int64(len(want))
	}
	return objects, size, nil
}

// demoRun is how a run of the program ended.
type demoRun struct {
	exit           int // -1: killed
	took           time.Duration
	stdout, stderr string
}

// command is this very program, as a user would run it in the folder.
func (w *demoWorld) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, w.exe, args...)
	cmd.Args[0] = "farshore"
	cmd.Dir = w.dir
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "OS_") && !strings.HasPrefix(kv, "XDG_") {
			cmd.Env = append(cmd.Env, kv)
		}
	}
	cmd.Env = append(cmd.Env, "OS_CLIENT_CONFIG_FILE="+w.clouds, "XDG_STATE_HOME="+w.dir)
	return cmd
}

// run runs it to its end.
func (w *demoWorld) run(ctx context.Context, args ...string) (demoRun, error) {
	return w.runWhile(ctx, nil, args...)
}

// runWhile runs it to its end, or kills it with SIGKILL when enough is closed.
func (w *demoWorld) runWhile(ctx context.Context, enough <-chan struct{}, args ...string) (demoRun, error) {
	var stdout, stderr bytes.Buffer
	cmd := w.command(ctx, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return demoRun{}, fmt.Errorf("start farshore: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	var err error
	select {
	case err = <-ended:
	case <-enough:
		_ = cmd.Process.Kill() // fails if it has just ended, which its exit code says
		err = <-ended
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return demoRun{}, fmt.Errorf("run farshore: %w", err)
	}
	if ctx.Err() != nil {
		return demoRun{}, context.Cause(ctx)
	}
	return demoRun{exit: cmd.ProcessState.ExitCode(), took: time.Since(began), stdout: stdout.String(), stderr: stderr.String()}, nil
}
