package fakecloud

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
)

// BenchmarkRequests measures small requests and whole bodies, client included.
func BenchmarkRequests(b *testing.B) {
	c, err := Start(Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	r := c.Regions()[0]
	token := r.Token(User, Project)
	tr := &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}
	defer tr.CloseIdleConnections()
	r.Put("c", "small", make([]byte, 4096), nil)
	r.Put("c", "large", make([]byte, 64<<20), nil)
	if err := r.SetSynthetic("many", Synthetic{Count: 1_000_000, Seed: 1}); err != nil {
		b.Fatal(err)
	}
	var n atomic.Int64
	for _, k := range []struct {
		name, method, path string
		size               int
	}{
		{"HEAD", "HEAD", "/c/small", 0}, {"GET4KiB", "GET", "/c/small", 0}, {"PUT4KiB", "PUT", "/c/new%d", 4096},
		{"List10000", "GET", "/many?format=json&marker=o%09d", 0}, {"GET64MiB", "GET", "/c/large", 0}, {"PUT64MiB", "PUT", "/c/big", 64 << 20},
	} {
		b.Run(k.name, func(b *testing.B) {
			body := make([]byte, k.size)
			b.SetBytes(int64(max(k.size, 1)))
			if k.name == "GET64MiB" {
				b.SetBytes(64 << 20)
			}
			b.SetParallelism(4)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					path := k.path
					switch k.name {
					case "PUT4KiB":
						path = fmt.Sprintf(path, n.Add(1))
					case "List10000":
						path = fmt.Sprintf(path, n.Add(1)%95*10_000)
					}
					var rd io.Reader
					if k.size > 0 {
						rd = bytes.NewReader(body)
					}
					req, err := http.NewRequest(k.method, r.StorageURL()+path, rd)
					if err != nil {
						b.Fatal(err)
					}
					req.Header["X-Auth-Token"] = []string{token}
					resp, err := tr.RoundTrip(req)
					if err != nil {
						b.Fatal(err)
					}
					if resp.StatusCode >= 300 {
						b.Fatalf("status %d", resp.StatusCode)
					}
					if _, err := io.Copy(io.Discard, resp.Body); err != nil {
						b.Fatal(err)
					}
					resp.Body.Close()
				}
			})
		})
	}
}
