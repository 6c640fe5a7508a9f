package report

import "time"

// Lag is how far one region is behind its source, for one policy. Times are of this
// machine's clock, seconds are whole or broken ones, sizes bytes.
//
// A change is waiting at a region from its source timestamp until that region has
// confirmed it or a newer one of the same item; what the source had before the policy was
// first at work waits from then on. Nobody can know of a change that no listing has shown
// yet, so two figures enclose the truth: Known is not more than it, AtMost not less.
type Lag struct {
	Policy string `json:"policy"`
	Region string `json:"region"`
	// Seconds is the lag to go by: Known, or AtMost when the source was not looked at for
	// longer than Poll, when what is known says nothing any more.
	Seconds float64 `json:"lag_seconds"`
	Known   float64 `json:"known_seconds"`   // age of the oldest change known and not confirmed; 0: all that is known is
	AtMost  float64 `json:"at_most_seconds"` // no change older than this is unconfirmed, seen or not
	// AsOf is when the oldest look at the source that counts began: every change made by
	// then is known. Absent: not all of it was ever looked at, and Seconds counts from Since.
	AsOf  time.Time `json:"as_of,omitzero"`
	Since time.Time `json:"since"`          // when the policy was first at work for this region
	Poll  float64   `json:"poll_seconds"`   // longest time that should pass between two looks
	Items int64     `json:"waiting_items"`  // changes known and not confirmed
	Bytes int64     `json:"waiting_bytes"`  // of them
	Stuck int64     `json:"stuck_items"`    // that wait for a person, not for us: conflicts, and what cannot be kept; in no other figure
	Late  Lateness  `json:"late"`           // how that stands against rpo
	Past  Delays    `json:"delays"`         // what was confirmed lately
	Ahead Forecast  `json:"forecast"`       // when what waits will have arrived
	Rough bool      `json:"rough,omitzero"` // more waits than is kept one by one: Known may be too much, never too little
}

// Lateness is lag against a policy's rpo. Without an rpo nothing is late.
type Lateness struct {
	RPO   float64 `json:"rpo_seconds"` // 0: the policy has none
	Is    bool    `json:"is_late"`     // something has waited for longer than rpo
	Items int64   `json:"items"`
	Bytes int64   `json:"bytes"`
	// Why says what did not come about where it is late and no item is known to be: the
	// source was not looked at, or no restore point has come. Cause and Hint are of the last
	// pass, where it says.
	Why   string `json:"why,omitempty"`
	Cause string `json:"cause,omitempty"`
	Hint  string `json:"hint,omitempty"`
	// Oldest names the items that have waited longest, the oldest first, ten at most.
	Oldest []LateItem `json:"oldest"`
	// Episode is the id of the late event that is not followed by its arrived event yet.
	Episode string    `json:"episode,omitempty"`
	Began   time.Time `json:"began,omitzero"` // when it was found late
}

// LateItem is an item that has waited for longer than its policy's rpo.
type LateItem struct {
	Place string    `json:"place"` // container, with the policy's prefix; or volume
	Name  string    `json:"name"`  // object; or restore point
	Since time.Time `json:"since"`
	Bytes int64     `json:"bytes"`
}

// Delays is how long changes took from their source timestamp until they were confirmed,
// over the last Window seconds. Quantiles are within 1 % of the exact ones.
type Delays struct {
	Window float64 `json:"window_seconds"`
	Items  int64   `json:"items"` // confirmed in it
	Bytes  int64   `json:"bytes"`
	P50    float64 `json:"p50_seconds"`
	P99    float64 `json:"p99_seconds"`
	P999   float64 `json:"p999_seconds"`
	Max    float64 `json:"max_seconds"`
	// Within is the share of items that were confirmed within rpo, 0 to 1; what is late
	// now counts as not. 1 without items and without rpo.
	Within    float64 `json:"within_rpo"`
	Objective float64 `json:"objective"` // the share that is meant to be
	// Budget is what is left of the share that may be late: 1 nothing was late, 0 it is
	// used up, less: more was late than should be.
	Budget float64 `json:"budget_left"`
}

// Why there is no forecast.
const (
	NoForecastYet     = "measuring" // too little was seen to move
	NoForecastPaused  = "paused"    // the policy is
	NoForecastStopped = "stopped"   // the last pass was, by the brake or a person, and waits for one
)

// Forecast is what becomes of the backlog at the rate of the last minutes, oldest first.
type Forecast struct {
	BytesRate float64 `json:"bytes_per_second"`
	ItemsRate float64 `json:"items_per_second"`
	// None is why there is no forecast, with nothing in the three below: NoForecast…; empty:
	// there is one.
	None string `json:"none,omitempty"`
	// ETA is in how many seconds nothing waits any more; -1: nothing moves, so never.
	ETA float64 `json:"eta_seconds"`
	// Worst is the longest that anything which waits now will have waited by then.
	Worst float64 `json:"worst_seconds"`
	// Miss says that something which is not late yet will be.
	Miss bool `json:"will_miss_rpo"`
}
