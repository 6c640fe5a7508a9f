package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
)

// machine describes where the numbers are from.
type machine struct {
	CPU     string
	Cores   int
	Memory  int64
	System  string
	Go      string
	Version string // of farshore
	Rclone  string
	Swift   string
}

func describe(b *bench) machine {
	m := machine{CPU: valueOf("/proc/cpuinfo", "model name"), Cores: runtime.NumCPU(), System: strings.Trim(valueOf("/etc/os-release", "PRETTY_NAME"), `"`),
		Go: runtime.Version(), Swift: "not installed"}
	if kb, err := strconv.ParseInt(strings.TrimSuffix(valueOf("/proc/meminfo", "MemTotal"), " kB"), 10, 64); err == nil {
		m.Memory = kb << 10
	}
	m.Version = said(b.farshore, "version")
	m.Rclone = strings.TrimPrefix(said("rclone", "version"), "rclone ")
	if v := said("dpkg-query", "-W", "-f", "${Version}", "swift-proxy"); v != "" {
		m.Swift = v
	}
	return m
}

func (m machine) String() string {
	return fmt.Sprintf("%s, %d cores, %.0f GiB, %s, %s; %s; rclone %s; Swift %s", m.CPU, m.Cores, float64(m.Memory)/float64(gib), m.System, m.Go, m.Version, m.Rclone, m.Swift)
}

// said is the first line that a command prints; empty when it fails.
func said(name string, args ...string) string {
	out, err := exec.Command(name, args...).Output()
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimSpace(line)
}

// valueOf is the value of the first line "key : value" or "key=value" of a file.
func valueOf(path, key string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	for s := bufio.NewScanner(f); s.Scan(); {
		i := strings.IndexAny(s.Text(), ":=")
		if i > 0 && strings.TrimSpace(s.Text()[:i]) == key {
			return strings.TrimSpace(s.Text()[i+1:])
		}
	}
	return ""
}

// load is the machine's load of the last minute; a busy machine's numbers are worth little.
func load() float64 {
	raw, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	x, err := strconv.ParseFloat(strings.Fields(string(raw) + " x")[0], 64)
	if err != nil {
		return 0
	}
	return x
}
