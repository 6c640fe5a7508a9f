package fakecloud

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
)

// adminBlock is the part of the control that is about Cinder.
func (r *Region) adminBlock(what, id string, offset, seed, size int64) (int, any) {
	if r.block == nil {
		return http.StatusNotFound, map[string]string{"error": "the region has no Cinder"}
	}
	if what == "GET block" {
		return http.StatusOK, r.BlockResources()
	}
	v := r.Volume(id)
	if v == nil {
		return http.StatusNotFound, map[string]string{"error": "no such volume"}
	}
	if what == "POST block-sum" {
		h, buf := sha256.New(), make([]byte, blockSize)
		for off := int64(0); off < v.Size(); off += blockSize {
			n := min(blockSize, v.Size()-off)
			// Neither fails.
			_, _ = v.ReadAt(buf[:n], off)
			_, _ = h.Write(buf[:n])
		}
		return http.StatusOK, map[string]string{"sha256": hex.EncodeToString(h.Sum(nil))}
	}
	if offset < 0 || size <= 0 || offset+size > v.Size() {
		return http.StatusBadRequest, map[string]string{"error": "offset and size are not within the volume"}
	}
	from := body(synthBody{seed: mix(uint64(seed)), size: size})
	if seed == 0 {
		from = newMemBody(make([]byte, size))
	}
	if err := from.writeTo(&volumeWriter{v, offset}, 0, size); err != nil {
		return http.StatusInternalServerError, map[string]string{"error": err.Error()}
	}
	return http.StatusOK, map[string]bool{"ok": true}
}

// volumeWriter writes to a volume from off on.
type volumeWriter struct {
	v   *BlockVolume
	off int64
}

func (w *volumeWriter) Write(p []byte) (int, error) {
	n, err := w.v.WriteAt(p, w.off)
	w.off += int64(n)
	return n, err
}

func (r *Region) adminBlockFault(w http.ResponseWriter, hr *http.Request) {
	var f BlockFault
	dec := json.NewDecoder(hr.Body)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&f); err != nil {
		adminReply(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
		return
	}
	adminReply(w, http.StatusOK, map[string]int{"id": r.AddBlockFault(f)})
}
