package fakecloud

import (
	"net/http"
	"strings"
)

type blockHandler func(*blockCall) (done, error)

// dispatch finds the handler: {id} stands for any part. Handlers take the id
// from bc.path.
func (bc *blockCall) dispatch() (done, error) {
	known := false
	for _, r := range blockRoutes() {
		if !routeFits(r.path, bc.path) {
			continue
		}
		known = true
		if r.method != bc.q.r.Method {
			continue
		}
		if bc.micro < r.since {
			return done{}, &apiError{http.StatusNotFound, "The resource could not be found."}
		}
		return r.do(bc)
	}
	if known {
		return done{}, &apiError{http.StatusMethodNotAllowed, "The method is not allowed for this resource."}
	}
	return done{}, &apiError{http.StatusNotFound, "The resource could not be found."}
}

func routeFits(route string, path []string) bool {
	n := 0
	for part := range strings.SplitSeq(route, "/") {
		if n == len(path) || part != "{id}" && part != path[n] {
			return false
		}
		n++
	}
	return n == len(path)
}

type blockRoute struct {
	method, path string
	since        int // the microversion that brought it
	do           blockHandler
}

func blockRoutes() []blockRoute {
	const get, post, put, del = http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete
	return []blockRoute{
		{get, "volumes", 0, (*blockCall).listVolumes},
		{get, "volumes/detail", 0, (*blockCall).listVolumes},
		{post, "volumes", 0, (*blockCall).createVolume},
		{get, "volumes/{id}", 0, (*blockCall).showVolume},
		{put, "volumes/{id}", 0, (*blockCall).updateVolume},
		{del, "volumes/{id}", 0, (*blockCall).deleteVolume},
		{post, "volumes/{id}/action", 0, (*blockCall).actVolume},
		{get, "volumes/{id}/metadata", 0, (*blockCall).showVolumeMeta},
		{post, "volumes/{id}/metadata", 0, (*blockCall).setVolumeMeta},
		{put, "volumes/{id}/metadata", 0, (*blockCall).setVolumeMeta},
		{get, "volumes/{id}/metadata/{id}", 0, (*blockCall).showVolumeMeta},
		{put, "volumes/{id}/metadata/{id}", 0, (*blockCall).setVolumeMeta},
		{del, "volumes/{id}/metadata/{id}", 0, (*blockCall).dropVolumeMeta},

		{get, "snapshots", 0, (*blockCall).listSnapshots},
		{get, "snapshots/detail", 0, (*blockCall).listSnapshots},
		{post, "snapshots", 0, (*blockCall).createSnapshot},
		{get, "snapshots/{id}", 0, (*blockCall).showSnapshot},
		{put, "snapshots/{id}", 0, (*blockCall).updateSnapshot},
		{del, "snapshots/{id}", 0, (*blockCall).deleteSnapshot},
		{post, "snapshots/{id}/action", 0, (*blockCall).actSnapshot},
		{get, "snapshots/{id}/metadata", 0, (*blockCall).showSnapshotMeta},
		{post, "snapshots/{id}/metadata", 0, (*blockCall).setSnapshotMeta},
		{put, "snapshots/{id}/metadata", 0, (*blockCall).setSnapshotMeta},
		{del, "snapshots/{id}/metadata/{id}", 0, (*blockCall).dropSnapshotMeta},

		{get, "backups", 0, (*blockCall).listBackups},
		{get, "backups/detail", 0, (*blockCall).listBackups},
		{post, "backups", 0, (*blockCall).createBackup},
		{post, "backups/import_record", 0, (*blockCall).importRecord},
		{get, "backups/{id}", 0, (*blockCall).showBackup},
		{put, "backups/{id}", 9, (*blockCall).updateBackup},
		{del, "backups/{id}", 0, (*blockCall).deleteBackup},
		{post, "backups/{id}/restore", 0, (*blockCall).restoreBackup},
		{post, "backups/{id}/action", 0, (*blockCall).actBackup},
		{get, "backups/{id}/export_record", 0, (*blockCall).exportRecord},

		{get, "types", 0, (*blockCall).listTypes},
		{get, "types/{id}", 0, (*blockCall).showType},
		{get, "types/{id}/extra_specs", 0, (*blockCall).showTypeSpecs},
		{get, "types/{id}/encryption", 0, (*blockCall).showTypeEncryption},
		{get, "limits", 0, (*blockCall).showLimits},
		{get, "os-quota-sets/{id}", 0, (*blockCall).showQuotas},
		{put, "os-quota-sets/{id}", 0, (*blockCall).setQuotas},
		{get, "os-quota-sets/{id}/defaults", 0, (*blockCall).showQuotas},
		{get, "os-availability-zone", 0, (*blockCall).listZones},
		{get, "os-services", 0, (*blockCall).listServices},
		{get, "messages", 3, (*blockCall).listMessages},
		{get, "messages/{id}", 3, (*blockCall).showMessage},
		{del, "messages/{id}", 3, (*blockCall).deleteMessage},

		{get, "attachments", 27, (*blockCall).listAttachments},
		{get, "attachments/detail", 27, (*blockCall).listAttachments},
		{post, "attachments", 27, (*blockCall).createAttachment},
		{get, "attachments/{id}", 27, (*blockCall).showAttachment},
		{put, "attachments/{id}", 27, (*blockCall).updateAttachment},
		{del, "attachments/{id}", 27, (*blockCall).deleteAttachment},
		{post, "attachments/{id}/action", 44, (*blockCall).completeAttachment},
	}
}
