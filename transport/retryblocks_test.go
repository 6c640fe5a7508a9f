package transport_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"reflect"
	"testing"
	"time"

	"farshore/transport"
	"farshore/transport/transporttest"
)

// failingBlocks fails each of its methods so many times, and counts.
type failingBlocks struct {
	fail  int
	class transport.Class
	err   error // instead of the class
	calls map[string]int
}

func (f *failingBlocks) call(name string) error {
	f.calls[name]++
	if f.calls[name] <= f.fail && f.err != nil {
		return f.err
	}
	if f.calls[name] <= f.fail {
		return &transport.Error{Op: "try", Region: "lyon", Class: f.class, Err: errors.New("no")}
	}
	return nil
}

func (f *failingBlocks) Identity(context.Context) (transport.Identity, error) {
	return transport.Identity{Region: "lyon"}, f.call("Identity")
}
func (f *failingBlocks) Renew(context.Context) (time.Time, error) {
	return time.Unix(1, 0), f.call("Renew")
}
func (f *failingBlocks) Volumes(context.Context) ([]transport.Volume, error) {
	return []transport.Volume{{ID: "v"}}, f.call("Volumes")
}
func (f *failingBlocks) Volume(_ context.Context, id string) (transport.Volume, error) {
	return transport.Volume{ID: id}, f.call("Volume")
}
func (f *failingBlocks) CreateVolume(_ context.Context, s transport.VolumeSpec) (transport.Volume, error) {
	return transport.Volume{Name: s.Name}, f.call("CreateVolume")
}
func (f *failingBlocks) ChangeVolume(context.Context, string, transport.VolumeChange) error {
	return f.call("ChangeVolume")
}
func (f *failingBlocks) DeleteVolume(context.Context, string) error { return f.call("DeleteVolume") }
func (f *failingBlocks) VolumeTypes(context.Context) ([]transport.VolumeType, error) {
	return []transport.VolumeType{{ID: "t"}}, f.call("VolumeTypes")
}
func (f *failingBlocks) Snapshots(_ context.Context, volume string) ([]transport.Snapshot, error) {
	return []transport.Snapshot{{Volume: volume}}, f.call("Snapshots")
}
func (f *failingBlocks) Snapshot(_ context.Context, id string) (transport.Snapshot, error) {
	return transport.Snapshot{ID: id}, f.call("Snapshot")
}
func (f *failingBlocks) CreateSnapshot(_ context.Context, volume, name string, m map[string]string) (transport.Snapshot, error) {
	return transport.Snapshot{Volume: volume, Name: name, Metadata: m}, f.call("CreateSnapshot")
}
func (f *failingBlocks) DeleteSnapshot(context.Context, string) error {
	return f.call("DeleteSnapshot")
}
func (f *failingBlocks) Backups(context.Context) ([]transport.Backup, error) {
	return []transport.Backup{{ID: "b"}}, f.call("Backups")
}
func (f *failingBlocks) Backup(_ context.Context, id string) (transport.Backup, error) {
	return transport.Backup{ID: id}, f.call("Backup")
}
func (f *failingBlocks) CreateBackup(_ context.Context, s transport.BackupSpec) (transport.Backup, error) {
	return transport.Backup{Name: s.Name}, f.call("CreateBackup")
}
func (f *failingBlocks) DeleteBackup(context.Context, string) error { return f.call("DeleteBackup") }
func (f *failingBlocks) RestoreBackup(context.Context, string, string) error {
	return f.call("RestoreBackup")
}
func (f *failingBlocks) ImportRights(context.Context) (transport.ImportRights, error) {
	return transport.ImportRights{Allowed: transport.Yes}, f.call("ImportRights")
}
func (f *failingBlocks) ImportBackup(context.Context, string, []byte) (string, error) {
	return "b", f.call("ImportBackup")
}
func (f *failingBlocks) Quotas(context.Context) (transport.VolumeQuotas, error) {
	return transport.VolumeQuotas{Volumes: transport.Amount{Limit: 1}}, f.call("Quotas")
}

// everyCall calls each method of an endpoint once and gives the values and errors by name.
func everyCall(t *testing.T, ctx context.Context, b transport.BlockStorage) (values map[string]any, errs map[string]error) {
	values, errs = map[string]any{}, map[string]error{}
	v := reflect.ValueOf(b)
	kind := reflect.TypeFor[transport.BlockStorage]()
	for i := range kind.NumMethod() {
		m := kind.Method(i)
		in := []reflect.Value{reflect.ValueOf(ctx)}
		for j := 1; j < m.Type.NumIn(); j++ {
			in = append(in, reflect.Zero(m.Type.In(j)))
			if m.Type.In(j).Kind() == reflect.String {
				in[j] = reflect.ValueOf(fmt.Sprint("arg", j)).Convert(m.Type.In(j))
			}
		}
		out := v.MethodByName(m.Name).Call(in)
		if err, ok := out[len(out)-1].Interface().(error); ok {
			errs[m.Name] = err
		}
		if len(out) > 1 {
			values[m.Name] = out[0].Interface()
		}
	}
	return values, errs
}

// Everything but what creates is made again, and gives what the last try gave; a create
// is made once, whatever it fails with.
func TestRetryBlocks(t *testing.T) {
	creates := map[string]bool{"CreateVolume": true, "CreateSnapshot": true, "CreateBackup": true, "RestoreBackup": true, "ImportBackup": true, "Renew": true}
	want, _ := everyCall(t, t.Context(), &failingBlocks{calls: map[string]int{}})
	for _, class := range []transport.Class{transport.Transient, transport.Throttled} {
		f := &failingBlocks{fail: 2, class: class, calls: map[string]int{}}
		link := transport.NewLink(transport.LinkOptions{Region: "lyon", Start: 1, Max: 1, Clock: new(transporttest.Quick)})
		got, errs := everyCall(t, t.Context(), transport.RetryBlocks(f, link, transport.RetryPolicy{Clock: new(transporttest.Quick)}))
		for name, n := range f.calls {
			switch {
			case creates[name] && (n != 1 || !transport.Is(errs[name], class)):
				t.Errorf("%s: %d calls, %v", name, n, errs[name])
			case !creates[name] && (n != 3 || errs[name] != nil || !reflect.DeepEqual(got[name], want[name])):
				t.Errorf("%s: %d calls, %v, %+v, want %+v", name, n, errs[name], got[name], want[name])
			}
		}
		if len(f.calls) != reflect.TypeFor[transport.BlockStorage]().NumMethod() || link.Stats().InFlight != 0 {
			t.Errorf("%v %+v", f.calls, link.Stats())
		}
	}

	// A create that never got there, or whose token was refused, is made again.
	for _, err := range []error{
		&transport.Error{Op: "try", Region: "lyon", Class: transport.Transient, Err: &net.OpError{Op: "dial", Err: errors.New("refused")}},
		&transport.Error{Op: "try", Region: "lyon", Class: transport.Transient, Status: 401, Err: errors.New("the token had ended")},
	} {
		f := &failingBlocks{fail: 2, err: err, calls: map[string]int{}}
		_, errs := everyCall(t, t.Context(), transport.RetryBlocks(f, nil, transport.RetryPolicy{Clock: new(transporttest.Quick)}))
		for name, n := range f.calls {
			if name != "Renew" && (n != 3 || errs[name] != nil) {
				t.Errorf("%v: %s: %d calls, %v", err, name, n, errs[name])
			}
		}
	}

	// What will not pass is not tried again, and nothing is begun after the context's end.
	f := &failingBlocks{fail: 1, class: transport.Denied, calls: map[string]int{}}
	b := transport.RetryBlocks(f, nil, transport.RetryPolicy{Clock: new(transporttest.Quick)})
	_, errs := everyCall(t, t.Context(), b)
	for name, n := range f.calls {
		if n != 1 || !transport.Is(errs[name], transport.Denied) {
			t.Errorf("%s: %d calls, %v", name, n, errs[name])
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	f.calls = map[string]int{}
	_, errs = everyCall(t, ctx, b)
	for name, err := range errs {
		if name != "Renew" && (!transport.Is(err, transport.Canceled) || f.calls[name] != 0) {
			t.Errorf("%s after the end: %d calls, %v", name, f.calls[name], err)
		}
	}
}
