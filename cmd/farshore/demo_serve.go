package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
)

// serve keeps the regions up until the context ends, which is how it is meant to end.
func (d *demo) serve(ctx context.Context) error {
	d.out.Clouds = d.clouds
	if d.c.json {
		// At once, not at the end: whoever reads it wants to use the regions.
		doc := document{Schema: 1, Command: "demo", OK: true, Exit: exitDone, Result: d.out}
		if err := writeJSON(d.c.stdout, doc); err != nil {
			return fmt.Errorf("write the result: %w", err)
		}
	}
	path := ""
	if here, err := exec.LookPath("farshore"); err != nil || here != d.exe {
		path = fmt.Sprintf("  export PATH=%s:$PATH\n", quoted(filepath.Dir(d.exe)))
	}
	end := "removes the folder"
	if d.keep {
		end = "leaves the folder"
	}
	d.c.say(`Three emulated OpenStack regions are up: paris, lyon and berlin. paris:%s holds %s objects,
%s; lyon and berlin are empty. In another terminal:

%s  export OS_CLIENT_CONFIG_FILE=%s
  export XDG_STATE_HOME=%s   # ledgers stay beside the regions
  cd %s   # has a farshore.yaml

  farshore region check lyon --probe
  farshore plan
  farshore sync
  farshore status

paris has a volume, db, too. Ship a snapshot of it, restore it and prove it:

  farshore sync -f %s
  farshore restore db --to lyon --name db-back --proof blocks -f %s

Damage a replica without changing its ETag, then find and repair it:

  curl -d '{"container":"%s","name":"%s"}' %s/_fake/corrupt
  farshore audit --read 100%%
  farshore audit --read 100%% --repair

Other clients work as well: openstack --os-cloud lyon object list %s
Ctrl-C ends the regions and %s.`,
		demoContainer, comma(d.objects), size(d.bytes), path, d.clouds, d.dir, d.dir, demoVolumeFile, demoVolumeFile, demoContainer, d.small[0], d.lyon.URL(), demoContainer, end)
	<-ctx.Done()
	d.c.say("")
	return nil
}
