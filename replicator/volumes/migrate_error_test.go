package volumes

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

// A volume in error is not begun with, the finding says what to do, and the answer has its lists.
func TestMigrateAVolumeInError(t *testing.T) {
	g := newRig(t, rigOptions{}, "b")
	v := g.volume("db", 1)
	g.status("error")
	m, err := g.shipper().Migrate(t.Context(), MigrateRequest{Volume: v.ID(), From: "a", To: "b", Passes: 1})
	var failed *MigrateError
	if !errors.As(err, &failed) || len(m.Findings) == 0 || !strings.Contains(m.Findings[0].Cause, "its status is error") || !strings.Contains(m.Findings[0].Hint, "openstack volume set --state available "+v.ID()) {
		t.Errorf("%v %+v", err, m.Findings)
	}
	if text, err := json.Marshal(m); err != nil || !strings.Contains(string(text), `"passes":[]`) {
		t.Errorf("%s %v", text, err)
	}
	g.bare("a", 1, 0)
	g.bare("b", 0, 0)
}
