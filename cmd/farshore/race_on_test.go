//go:build race

package main

// raceDetector: the emulated Cinder packs and unpacks gibibytes, which takes minutes
// under the race detector; replicator/volumes has the same concurrency with small ones.
const raceDetector = true
