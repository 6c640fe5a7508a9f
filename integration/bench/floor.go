package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"

	"golang.org/x/sync/errgroup"
)

// floorSpec is what a floor process is told on its standard input.
type floorSpec struct {
	From, To          credentials
	Container, Copied string
	Streams           int
	ListOnly          bool
}

// runFloor is the least that a copy can be: log in to both regions, list the source,
// and for each object GET its bytes into a PUT, so many at once. It keeps nothing,
// checks nothing but status and ETag, and retries nothing.
func runFloor(ctx context.Context, in io.Reader) error {
	var s floorSpec
	if err := json.NewDecoder(in).Decode(&s); err != nil {
		return fmt.Errorf("read what to do: %w", err)
	}
	var from, to *account
	var logins errgroup.Group
	logins.Go(func() (err error) { from, err = login(ctx, s.From, s.Streams); return err })
	logins.Go(func() (err error) { to, err = login(ctx, s.To, s.Streams); return err })
	if err := logins.Wait(); err != nil {
		return err
	}
	names := make(chan string, 16<<10)
	work, ctx := errgroup.WithContext(ctx)
	work.Go(func() error {
		defer close(names)
		return from.pages(ctx, s.Container, func(page []entry) error {
			for _, e := range page {
				if s.ListOnly {
					continue
				}
				select {
				case names <- e.Name:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			return nil
		})
	})
	for range s.Streams {
		work.Go(func() error {
			for name := range names {
				if err := pipe(ctx, from, to, s.Container, s.Copied, name); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return work.Wait()
}

// pipe copies one object.
func pipe(ctx context.Context, from, to *account, container, copied, name string) error {
	get, err := from.do(ctx, http.MethodGet, place(container, name), nil, 0)
	if err != nil {
		return err
	}
	defer get.Body.Close()
	put, err := to.do(ctx, http.MethodPut, place(copied, name), get.Body, get.ContentLength)
	if err != nil {
		return err
	}
	if got, want := put.Header.Get("Etag"), get.Header.Get("Etag"); got != want {
		return fmt.Errorf("PUT %s: ETag %s, want %s", name, got, want)
	}
	return finish(put)
}

// floorMain is the subcommand.
func floorMain() error { return runFloor(context.Background(), os.Stdin) }
