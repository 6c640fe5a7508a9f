package integration

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"farshore/integration/fakecloud"
)

// policyFile writes a policy file beside the ledger and returns its path.
func (f *farshore) policyFile(text string) string {
	f.t.Helper()
	path := filepath.Join(filepath.Dir(f.ledger), "farshore.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		f.t.Fatal(err)
	}
	return path
}

const (
	killStreams = 4
	killChunk   = 1 << 20
	killSmall   = 4 << 10
	longestLife = 650 * time.Millisecond // of a run that is killed
)

// killPolicy cuts objects of 12 MiB into twelve chunks.
const killPolicy = `
regions:
  one: {cloud: one}
  two: {cloud: two}
limits: {streams: 4}
policies:
  - name: kill
    from: one
    to: [two]
    containers: [data]
    large: {as: exact, over: 2MiB, chunk: 1MiB}
`

func content(seed uint64, n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)}).Read(b)
	return b
}

// TestKilledAnywhere sends SIGKILL to the program at random moments of one long
// copy and restarts it: at the end both regions are identical, and what was sent
// twice is within what promise 3 allows a kill.
func TestKilledAnywhere(t *testing.T) {
	kills := scaled(8, 30)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	cloud, f := fake(t, fakecloud.Options{}, "one", "two")
	one, two := cloud.Region("one"), cloud.Region("two")
	one.CreateContainer("data")
	total := int64(0)
	for i := range 3 {
		one.Put("data", fmt.Sprintf("large %d", i), content(uint64(i), 12*killChunk), map[string]string{"X-Object-Meta-N": fmt.Sprint(i)})
		total += 12 * killChunk
	}
	small := scaled(600, 2000)
	for i := range small {
		one.Put("data", fmt.Sprintf("small/%05d", i), content(uint64(100+i), killSmall), nil)
		total += killSmall
	}
	// The small ones alone take longer than all kills together.
	two.SetLatency(time.Duration(kills) * longestLife * killStreams / time.Duration(small))
	two.SetBandwidth(16 << 20)
	policy := f.policyFile(killPolicy)
	killed := 0
	for killed < kills && f.runAndKill(150*time.Millisecond+time.Duration(rng.Int64N(int64(longestLife-150*time.Millisecond))), "sync", "-f", policy) {
		killed++
		f.checkLedger()
	}
	two.SetLatency(0)
	two.SetBandwidth(0)
	o := f.must("sync", "-f", policy)
	equal(t, one, two, "data", "data")
	if left := two.Names(".farshore-segments"); len(left) > 0 {
		t.Errorf("%d segments left behind", len(left))
	}
	f.checkLedger()
	sent := two.Counters().Of(fakecloud.ClassObject, "PUT").In
	allowed := int64(killed) * (killStreams*killChunk + 256*killSmall + killStreams*killSmall)
	t.Logf("%d kills, %d bytes, %d bytes sent twice (%d a kill; promise 3 allows %d)", killed, total, sent-total, (sent-total)/int64(max(killed, 1)), allowed)
	if killed != kills {
		t.Errorf("only %d of %d kills: the copy is too quick for this test", killed, kills)
	}
	if sent-total > allowed {
		t.Errorf("%d bytes sent twice", sent-total)
	}
	if o.JSON.Result.Policies[0].Totals.Conflicts > 0 {
		t.Errorf("false conflicts: %s", o.Stdout)
	}
}
