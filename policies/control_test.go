package policies

import (
	"strings"
	"testing"
)

// Who may use the control socket is said once for the file.
func TestControlGroup(t *testing.T) {
	const rest = "\nregions: {paris: {}, lyon: {}}\npolicies:\n  - {name: a, from: paris, to: [lyon], containers: [photos]}\n"
	f, err := Parse("x.yaml", []byte("control_group: storage-ops"+rest))
	if err != nil || f.ControlGroup != "storage-ops" {
		t.Errorf("control_group is %q, %v", f.ControlGroup, err)
	}
	if f, err = Parse("x.yaml", []byte(rest)); err != nil || f.ControlGroup != "" {
		t.Errorf("without the key it is %q, %v", f.ControlGroup, err)
	}
	if _, err = Parse("x.yaml", []byte("control_group: [a, b]"+rest)); err == nil || !strings.Contains(err.Error(), "control_group") {
		t.Errorf("a list of groups: %v", err)
	}
}
