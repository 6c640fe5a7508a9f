//go:build lab

package fakecloud

// The script of TestParityWithCinder, by subject. It leaves nothing behind.

func volumeParity(s *blockScript) {
	root := s.do("GET", "/", "").as(nobody)
	root.bare = true
	v3 := s.do("GET", "/v3/", "")
	v3.bare = true
	s.do("GET", "/volumes", "").as(nobody)
	s.do("GET", "/volumes", "").as(other)
	s.do("GET", "/volumes", "").at("3.71")
	s.do("GET", "/volumes", "").at("2.0")
	s.do("GET", "/volumes", "").at("x.y")
	s.do("GET", "/volumes", "").at("latest").statusOnly()
	s.do("GET", "/nonsense", "").statusOnly()
	s.do("GET", "/types", "").drop("description")
	s.do("GET", "/types/default", "")
	s.do("GET", "/types", "").as(admin).drop("description", "extra_specs")
	s.do("GET", "/types/default", "").at("3.0")
	s.do("GET", "/os-availability-zone", "")
	s.do("GET", "/limits", "").statusOnly()
	s.do("GET", "/messages", "").at("3.2")

	s.do("POST", "/volumes", `{"volume": {}}`).statusOnly()
	s.do("POST", "/volumes", `{"volume": {"size": 0}}`).statusOnly()
	s.do("POST", "/volumes", `{"volume": {"size": 1, "colour": "red"}}`).statusOnly()
	s.do("POST", "/volumes", `{"volume"`)
	s.do("POST", "/volumes", `{"volume": {"size": 1, "volume_type": "nothing"}}`)
	s.do("POST", "/volumes", `{"volume": {"size": 1, "volume_type": "00000000-1111-4222-a333-444444444444"}}`)
	s.do("POST", "/volumes", `{"volume": {"size": 1, "availability_zone": "moon"}}`)
	s.do("POST", "/volumes", `{"volume": {"size": 1, "snapshot_id": "00000000-1111-4222-a333-444444444444"}}`)
	s.do("POST", "/volumes", `{"volume": {"size": 5000000}}`).statusOnly()
	s.do("POST", "/volumes", `{"volume": {"size": 1, "name": "`+parityName+`", "description": "a é", "metadata": {"dr": "gold"}, "volume_type": "gold-one"}}`).
		keep("v", "volume.id")
	s.settled("volumes", "v")
	s.settled("volumes", "v").at("3.0")
	s.settled("volumes", "v").as(admin)
	s.do("GET", "/volumes?name="+parityName, "")
	s.do("GET", "/volumes/detail?name="+parityName, "")
	s.do("GET", "/volumes/detail?metadata=%7B%27dr%27%3A%27gold%27%7D&name="+parityName, "")
	s.do("GET", "/volumes/detail?metadata=%7B%27dr%27%3A%27lead%27%7D&name="+parityName, "")
	s.do("GET", "/volumes?name="+parityName+"&limit=1", "")
	s.do("GET", "/volumes?limit=-1", "").statusOnly()
	s.do("GET", "/volumes/00000000-1111-4222-a333-444444444444", "")
	s.do("GET", "/volumes/{v}/metadata", "")
	s.do("POST", "/volumes/{v}/metadata", `{"metadata": {"a": "1", "b": "2"}}`)
	s.do("PUT", "/volumes/{v}/metadata/a", `{"meta": {"a": "3"}}`)
	s.do("PUT", "/volumes/{v}/metadata/a", `{"meta": {"z": "3"}}`)
	s.do("GET", "/volumes/{v}/metadata/a", "")
	s.do("GET", "/volumes/{v}/metadata/none", "")
	s.do("DELETE", "/volumes/{v}/metadata/b", "").statusOnly()
	s.do("DELETE", "/volumes/{v}/metadata/b", "")
	s.do("PUT", "/volumes/{v}/metadata", `{"metadata": {"dr": "gold"}}`)
	s.do("PUT", "/volumes/{v}", `{"volume": {"description": "other"}}`)
	s.do("POST", "/volumes/{v}/action", `{"os-set_image_metadata": {"metadata": {"os": "linux", "min_ram": "0"}}}`)
	s.do("POST", "/volumes/{v}/action", `{"os-set_bootable": {"bootable": true}}`).statusOnly()
	s.do("POST", "/volumes/{v}/action", `{"os-show_image_metadata": null}`)
	s.do("POST", "/volumes/{v}/action", `{"os-unset_image_metadata": {"key": "none"}}`)
	s.do("POST", "/volumes/{v}/action", `{"os-unset_image_metadata": {"key": "min_ram"}}`).statusOnly()
	s.do("POST", "/volumes/{v}/action", `{"os-extend": {"new_size": 1}}`)
	s.do("POST", "/volumes/{v}/action", `{"os-reset_status": {"status": "error"}}`)
	s.do("POST", "/volumes/{v}/action", `{"os-force_delete": {}}`)
	s.do("POST", "/volumes/{v}/action", `{"os-nothing": {}}`).statusOnly()
	s.settled("volumes", "v")

	// In use, as by a bare host.
	s.do("POST", "/attachments", `{"attachment": {"volume_uuid": "{v}", "connector": null}}`).statusOnly().keep("att", "attachment.id")
	s.do("DELETE", "/attachments/{att}", "").statusOnly()
	s.settled("volumes", "v")
	s.do("POST", "/volumes/{v}/action", `{"os-attach": {"host_name": "somewhere", "mountpoint": "/dev/vdb"}}`).statusOnly()
	s.settled("volumes", "v")
	s.do("DELETE", "/volumes/{v}", "")
	s.do("POST", "/snapshots", `{"snapshot": {"volume_id": "{v}", "name": "`+parityName+`"}}`).at("3.65")
	s.do("POST", "/snapshots", `{"snapshot": {"volume_id": "{v}", "name": "`+parityName+`", "force": false}}`)
	s.do("POST", "/backups", `{"backup": {"volume_id": "{v}", "name": "`+parityName+`"}}`)
}

func snapshotParity(s *blockScript) {
	s.do("POST", "/snapshots", `{"snapshot": {"name": "x"}}`).statusOnly()
	s.do("POST", "/snapshots", `{"snapshot": {"volume_id": "00000000-1111-4222-a333-444444444444"}}`)
	s.do("POST", "/snapshots", `{"snapshot": {"volume_id": "{v}", "name": "`+parityName+`", "metadata": {"k": "v"}}}`).keep("s", "snapshot.id")
	s.settled("snapshots", "s")
	s.settled("snapshots", "s").at("3.0")
	s.do("POST", "/volumes/{v}/action", `{"os-detach": {}}`).statusOnly()
	s.settled("volumes", "v")
	s.do("DELETE", "/volumes/{v}", "")
	s.do("GET", "/snapshots?volume_id={v}", "")
	s.do("GET", "/snapshots/detail?volume_id={v}", "")
	s.do("GET", "/snapshots/detail?name=none", "")
	s.do("POST", "/snapshots/{s}/metadata", `{"metadata": {"l": "w"}}`)
	s.do("PUT", "/snapshots/{s}", `{"snapshot": {"description": "d"}}`)
	s.do("POST", "/snapshots/{s}/action", `{"os-reset_status": {"status": "error"}}`)
	s.do("GET", "/snapshots/00000000-1111-4222-a333-444444444444", "")
}

func backupParity(s *blockScript) {
	s.do("POST", "/backups", `{"backup": {"volume_id": "junk"}}`).statusOnly()
	s.do("POST", "/backups", `{"backup": {"volume_id": "00000000-1111-4222-a333-444444444444"}}`)
	s.do("POST", "/backups", `{"backup": {"volume_id": "{v}", "snapshot_id": "00000000-1111-4222-a333-444444444444"}}`)
	s.do("POST", "/backups", `{"backup": {"volume_id": "{v}", "snapshot_id": "{s}", "incremental": true}}`)
	s.do("POST", "/backups", `{"backup": {"volume_id": "{v}", "metadata": {}}}`).at("3.42").statusOnly()
	s.do("POST", "/backups", `{"backup": {"volume_id": "{v}", "snapshot_id": "{s}", "name": "`+parityName+`", "description": "first", "container": "`+
		parityName+`", "metadata": {"m": "n"}}}`).keep("b", "backup.id")
	s.do("DELETE", "/backups/{b}", "")
	s.do("DELETE", "/snapshots/{s}", "")
	s.settled("backups", "b")
	s.settled("backups", "b").at("3.0")
	s.settled("backups", "b").as(admin)
	s.settled("snapshots", "s")
	s.do("GET", "/backups?volume_id={v}", "")
	s.do("GET", "/backups/detail?volume_id={v}", "")
	s.do("GET", "/backups/00000000-1111-4222-a333-444444444444", "")
	s.do("PUT", "/backups/{b}", `{"backup": {"description": "second"}}`)
	s.do("GET", "/backups/{b}/export_record", "")
	s.do("GET", "/backups/{b}/export_record", "").as(admin)
	s.do("POST", "/backups/import_record", `{"backup-record": {"backup_service": "x", "backup_url": "e30="}}`)
	s.do("POST", "/backups/import_record", `{"backup-record": {"backup_service": "x", "backup_url": "e30="}}`).as(admin)
	s.do("POST", "/backups/import_record", `{"backup-record": {"backup_service": "x", "backup_url": "bm8="}}`).as(admin)
	s.do("POST", "/backups/import_record", `{"backup-record": {"backup_service": "x", "backup_url": "?"}}`).as(admin).statusOnly()
	s.do("POST", "/backups/import_record", `{"backup-record": {"backup_service": "x"}}`).statusOnly()
	s.do("POST", "/backups/{b}/action", `{"os-reset_status": {"status": "error"}}`)
	s.do("POST", "/backups/{b}/action", `{"os-reset_status": {"status": "creating"}}`).as(admin).statusOnly()
	s.do("POST", "/backups/{b}/action", `{"os-force_delete": {}}`)
	// An increment without a change, of a second snapshot.
	s.do("POST", "/snapshots", `{"snapshot": {"volume_id": "{v}", "name": "`+parityName+`2"}}`).keep("s2", "snapshot.id")
	s.settled("snapshots", "s2")
	s.do("POST", "/backups", `{"backup": {"volume_id": "{v}", "snapshot_id": "{s2}", "incremental": true, "name": "`+parityName+`2", "container": "`+
		parityName+`"}}`).keep("i", "backup.id")
	s.settled("backups", "i")
	s.settled("backups", "b")
	s.do("DELETE", "/backups/{b}", "")
	s.do("GET", "/backups/{i}/export_record", "").as(admin)
	s.do("GET", "swift:/"+parityName+"?format=json", "").statusOnly()
}

func restoreParity(s *blockScript) {
	s.do("POST", "/backups/{i}/restore", `{"restore": {"volume_id": "00000000-1111-4222-a333-444444444444"}}`)
	s.do("POST", "/backups/{i}/restore", `{"restore": {"volume_id": "junk"}}`).statusOnly()
	s.do("POST", "/volumes", `{"volume": {"size": 1, "name": "`+parityName+`-r", "metadata": {"mine": "1"}}}`).keep("r", "volume.id")
	s.settled("volumes", "r")
	s.do("POST", "/backups/{i}/restore", `{"restore": {"volume_id": "{r}"}}`)
	s.do("POST", "/backups/{i}/restore", `{"restore": {"volume_id": "{v}"}}`)
	s.settled("volumes", "r")
	s.settled("backups", "i")
	s.settled("volumes", "r").as(admin)
}

func endParity(s *blockScript) {
	for _, id := range []string{"i", "b"} {
		s.do("DELETE", "/backups/{"+id+"}", "").statusOnly()
		s.settled("backups", id)
	}
	for _, id := range []string{"s2", "s"} {
		s.do("DELETE", "/snapshots/{"+id+"}", "").statusOnly()
		s.settled("snapshots", id)
	}
	for _, id := range []string{"r", "v"} {
		s.do("DELETE", "/volumes/{"+id+"}", "").statusOnly()
		s.settled("volumes", id)
	}
	s.do("DELETE", "swift:/"+parityName, "").statusOnly()
}
