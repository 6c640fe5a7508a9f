package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// scaleRow takes one container through its life: a first pass, one over nothing
// changed, one over a few changes.
func scaleRow(b *bench, r *row) error {
	n, changed := b.sizes.scale, b.sizes.changed
	r.Title = fmt.Sprintf("fakecloud 0 ms, %s × 256 B", grouped(n))
	return onFake(b, serveOptions{}, func(s *site) error {
		from, copied := b.fresh("from"), b.fresh("to")
		if err := s.fill(b.ctx, from, n, 256, true); err != nil {
			return err
		}
		ledger := filepath.Join(b.dir, copied+".db")
		r.Table = []string{
			"| pass | wall | CPU | per object | requests, source (objects read) | requests, destination | peak RssAnon | ledger |",
			"| --- | --: | --: | --: | --: | --: | --: | --: |",
		}
		one := func(what string) (x sample, reads int64, err error) {
			before, err := s.fake.tell(order{Do: "counters", Region: sourceName})
			if err != nil {
				return x, 0, err
			}
			if x, err = b.measure(s, farshoreWith(ours), from, copied, ledger); err != nil {
				return x, 0, err
			}
			after, err := s.fake.tell(order{Do: "counters", Region: sourceName})
			if err != nil {
				return x, 0, err
			}
			if err := b.verify(s, from, copied); err != nil {
				return x, 0, fmt.Errorf("%s made a wrong copy: %w", what, err)
			}
			reads = after.Kinds["object.GET"] - before.Kinds["object.GET"]
			file, err := os.Stat(ledger)
			if err != nil {
				return x, 0, err
			}
			r.Table = append(r.Table, fmt.Sprintf("| %s | %.1f s | %.1f s | %.1f µs CPU | %s (%s) | %s | %.0f MiB | %.1f MiB, %.0f B a record |",
				what, x.Wall.Seconds(), x.CPU.Seconds(), x.CPU.Seconds()/float64(n)*1e6, grouped(int(x.Source)), grouped(int(reads)), grouped(int(x.Copy)),
				mib(x.Anon), mib(file.Size()), float64(file.Size())/float64(n)))
			r.Results = append(r.Results, result{Who: ours + ", " + what, Samples: []sample{x}})
			b.tell(r, what, 0, 1, x)
			return x, reads, nil
		}
		if _, _, err := one("first"); err != nil {
			return err
		}
		pages := int64((n + 9999) / 10_000)
		x, reads, err := one("unchanged")
		if err != nil {
			return err
		}
		r.judge("unchanged: requests to the destination", fmt.Sprint(x.Copy), "0", x.Copy == 0)
		most := pages + scaleSpare
		r.judge("unchanged: requests to the source", fmt.Sprintf("%d, objects read %d", x.Source, reads), fmt.Sprintf("≤ %d, 0", most), x.Source <= most && reads == 0)
		if _, err := s.fake.tell(order{Do: "change", Region: sourceName, Container: from, Count: changed, Stride: n / changed, Size: 256}); err != nil {
			return err
		}
		_, reads, err = one(fmt.Sprintf("%s changed", grouped(changed)))
		if err != nil {
			return err
		}
		r.judge("changed: objects read", grouped(int(reads)), grouped(changed), reads == int64(changed))
		return errors.Join(s.drop(b.ctx, s.copy, copied), s.drop(b.ctx, s.source, from))
	})
}

// scaleSpare is how many requests a pass may make beside one listing page for each
// 10,000 objects: its key ranges do not end where pages do, and each ends with a short
// page; finding the ranges and asking for the container and its abilities take a few.
const scaleSpare = 24
