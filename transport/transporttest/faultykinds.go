package transporttest

import (
	"context"

	"farshore/transport"
)

func (f *faulty) HeadVersion(ctx context.Context, container, name, version string) (o transport.Object, err error) {
	err = f.do(Call{Method: HeadVersion, Container: container, Name: name, Version: version}, func(*Call, *Fault) (err error) {
		o, err = f.ep.HeadVersion(ctx, container, name, version)
		return err
	})
	if err != nil {
		return transport.Object{}, err
	}
	return o, nil
}

func (f *faulty) Manifest(ctx context.Context, container, name, version string) (o transport.Object, raw []byte, err error) {
	err = f.do(Call{Method: Manifest, Container: container, Name: name, Version: version}, func(*Call, *Fault) (err error) {
		o, raw, err = f.ep.Manifest(ctx, container, name, version)
		return err
	})
	if err != nil {
		return transport.Object{}, nil, err
	}
	return o, raw, nil
}

func (f *faulty) PutRaw(ctx context.Context, container, name string, manifest []byte, etag string, o transport.PutOptions) (rc transport.Receipt, err error) {
	err = f.do(Call{Method: PutRaw, Container: container, Name: name, IfAbsent: o.IfAbsent}, func(*Call, *Fault) (err error) {
		rc, err = f.ep.PutRaw(ctx, container, name, manifest, etag, o)
		return err
	})
	return written(rc, err)
}

func (f *faulty) DeleteMarker(ctx context.Context, container, name string) (rc transport.Receipt, err error) {
	err = f.do(Call{Method: DeleteMarker, Container: container, Name: name}, func(*Call, *Fault) (err error) {
		rc, err = f.ep.DeleteMarker(ctx, container, name)
		return err
	})
	return written(rc, err)
}

func (f *faulty) DeleteVersion(ctx context.Context, container, name, version string) error {
	return f.do(Call{Method: DeleteVersion, Container: container, Name: name, Version: version}, func(*Call, *Fault) error {
		return f.ep.DeleteVersion(ctx, container, name, version)
	})
}

func (f *faulty) Revive(ctx context.Context, container, name, version string) error {
	return f.do(Call{Method: Revive, Container: container, Name: name, Version: version}, func(*Call, *Fault) error {
		return f.ep.Revive(ctx, container, name, version)
	})
}

func (f *faulty) PostContainer(ctx context.Context, container string, set transport.Header, remove []string) error {
	return f.do(Call{Method: PostContainer, Container: container}, func(*Call, *Fault) error { return f.ep.PostContainer(ctx, container, set, remove) })
}

func (f *faulty) Account(ctx context.Context) (info transport.AccountInfo, err error) {
	err = f.do(Call{Method: Account}, func(*Call, *Fault) (err error) {
		info, err = f.ep.Account(ctx)
		return err
	})
	return info, err
}

func (f *faulty) PostAccount(ctx context.Context, set transport.Header, remove []string) error {
	return f.do(Call{Method: PostAccount}, func(*Call, *Fault) error { return f.ep.PostAccount(ctx, set, remove) })
}
