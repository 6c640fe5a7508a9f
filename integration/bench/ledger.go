package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// ledgerRow runs the ledger's own benchmark.
func ledgerRow(b *bench, r *row) error {
	n := b.sizes.ledger
	if b.isFull {
		n = 10_000_000
	}
	r.Title = fmt.Sprintf("the ledger alone, %s objects × 2 replicas", grouped(n))
	r.Note = "`go test -bench FirstPass ./store`: random access rewrites pages all over the file, so random order is what an object store's own order never is."
	cmd := exec.CommandContext(b.ctx, "go", "test", "-run", "^$", "-bench", "FirstPass", "-benchtime", "1x", "-timeout", "3h", "farshore/store")
	cmd.Env = append(os.Environ(), "FARSHORE_BENCH_RECORDS="+strconv.Itoa(n))
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("run the ledger's benchmark: %w: %s", err, tail(out))
	}
	found := metrics(out)
	r.Table = []string{
		"| order | records/s | CPU a record | file a record | compacted | changes/s | read/s | opens in | check/s | peak RssAnon |",
		"| --- | --: | --: | --: | --: | --: | --: | --: | --: | --: |",
	}
	for _, order := range []string{"listing", "random"} {
		m := found["FirstPass/"+order]
		if m == nil {
			return fmt.Errorf("the ledger's benchmark printed no %s order: %s", order, tail(out))
		}
		r.Table = append(r.Table, fmt.Sprintf("| %s | %.0f | %.1f µs | %.0f B | %.0f B | %.0f | %.0f | %.1f ms | %.0f | %.0f MiB |",
			order, m["records/s"], m["cpu-ns/record"]/1000, m["file-B/record"], m["compact-B/record"], m["change/s"], m["read/s"], m["open-ms"],
			m["check/s"], m["peak-anon-MiB"]))
		b.log("%-16s %-22s %.0f records/s, %.0f B a record", r.ID, order, m["records/s"], m["file-B/record"])
	}
	listing, random := found["FirstPass/listing"], found["FirstPass/random"]
	r.judge("in listing order", fmt.Sprintf("%.0f records/s", listing["records/s"]), "≥ 50000", listing["records/s"] >= 50_000)
	r.judge("in random order", fmt.Sprintf("%.0f records/s", random["records/s"]), "≥ 20000", random["records/s"] >= 20_000)
	const most = 3 * float64(gib) / 10e6
	r.judge("file after a first pass", fmt.Sprintf("%.0f B a record", listing["file-B/record"]), fmt.Sprintf("≤ %.0f (3 GiB for 10 M)", most), listing["file-B/record"] <= most)
	r.judge("opens in", fmt.Sprintf("%.1f ms", listing["open-ms"]), "≤ 1 s", listing["open-ms"] <= 1000)
	return nil
}

// metrics reads what `go test -bench` prints: by benchmark (without "Benchmark" and
// what comes after its second part), value by unit.
func metrics(out []byte) map[string]map[string]float64 {
	all := map[string]map[string]float64{}
	for line := range bytes.Lines(out) {
		f := strings.Fields(string(line))
		if len(f) < 4 || !strings.HasPrefix(f[0], "Benchmark") {
			continue
		}
		parts := strings.SplitN(strings.TrimPrefix(f[0], "Benchmark"), "/", 3)
		name := parts[0]
		if len(parts) > 1 {
			name += "/" + parts[1]
		}
		m := map[string]float64{}
		for i := 2; i+1 < len(f); i += 2 {
			if v, err := strconv.ParseFloat(f[i], 64); err == nil {
				m[f[i+1]] = v
			}
		}
		all[name] = m
	}
	return all
}
