package report

// FidelityRow says what became of one property of one item at one destination.
type FidelityRow struct {
	Policy        string  `json:"policy"`
	Item          string  `json:"item"` // object, version, container, account
	From          string  `json:"from"` // the source's region
	FromContainer string  `json:"from_container,omitempty"`
	FromName      string  `json:"from_name,omitempty"`
	Region        string  `json:"region"` // the destination's, and what the item is called there
	Container     string  `json:"container,omitempty"`
	Name          string  `json:"name,omitempty"`
	Version       string  `json:"version,omitempty"` // the version's id at the source
	Property      string  `json:"property"`          // a header's name; or content, kind, manifest, segments, versions, S3 ETag
	Verdict       Verdict `json:"verdict"`
	Why           string  `json:"why,omitempty"`    // of mapped: how; of cannot and extra: why
	Source        string  `json:"source,omitempty"` // the values, where they differ and are no secret
	There         string  `json:"there,omitempty"`
}

// Verdict says whether a property was kept.
type Verdict string

// The verdicts.
const (
	Kept   Verdict = "kept"   // the same at both ends
	Mapped Verdict = "mapped" // another there, as the policy says
	Cannot Verdict = "cannot" // lost, or not the same
	Extra  Verdict = "extra"  // it stands there and not at the source: a copy of nothing
)

// FidelityTotals sums up a fidelity certificate.
type FidelityTotals struct {
	Objects    int64            `json:"objects"`    // compared, once a destination
	Versions   int64            `json:"versions"`   // histories of names, and older versions in them, compared once a destination
	Containers int64            `json:"containers"` // compared, once a destination
	Accounts   int64            `json:"accounts"`
	Rows       int64            `json:"rows"`
	Kept       int64            `json:"kept"`
	Mapped     int64            `json:"mapped"`
	Cannot     int64            `json:"cannot"`
	Extra      int64            `json:"extra"`               // objects, and histories, that only the destination has
	CannotBy   map[string]int64 `json:"cannot_by,omitempty"` // by property; own metadata of objects as one
	Read       int64            `json:"read_objects"`        // whose bytes were compared too
	ReadBytes  int64            `json:"read_back_bytes"`     // bytes read for that, at both ends
	Unseen     int64            `json:"unseen"`              // items and destinations that could not be compared
	Never      string           `json:"never_kept"`          // what no copy can keep, in words
}

// NeverKept is FidelityTotals.Never (openstack-facts S1).
const NeverKept = "X-Timestamp and Last-Modified: Swift gives every write its own time; the source's stands in X-Object-Meta-Farshore-Origin where the policy stamps"
