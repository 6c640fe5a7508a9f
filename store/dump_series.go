package store

import (
	"encoding/hex"

	"go.etcd.io/bbolt"
)

type dumpSeriesReplica struct {
	Route     RouteID `json:"route"`
	State     string  `json:"state"`
	ID        string  `json:"id,omitempty"`
	ETag      string  `json:"etag,omitempty"`
	Written   string  `json:"written,omitempty"`
	Confirmed string  `json:"confirmed,omitempty"`
	Current   bool    `json:"current,omitempty"`
	Touched   bool    `json:"touched,omitempty"`
	Adopted   bool    `json:"adopted,omitempty"`
	Note      string  `json:"note,omitempty"`
}

type dumpSeriesVersion struct {
	ID string `json:"id"`
	dumpVersion
	Size     int64               `json:"size"`
	Marker   bool                `json:"marker,omitempty"`
	Latest   bool                `json:"latest,omitempty"`
	Meta     string              `json:"meta,omitempty"`
	Missing  string              `json:"missing,omitempty"`
	Replicas []dumpSeriesReplica `json:"replicas,omitempty"`
}

func (d *dumper) series() error {
	places, err := d.l.Places()
	if err != nil {
		return err
	}
	for _, p := range places {
		for after := ""; ; {
			page, err := d.l.SeriesPage(p.ID, after, "", "", MaxPage)
			if err != nil {
				return err
			}
			if len(page) == 0 {
				break
			}
			for i := range page {
				if err := d.oneSeries(p.ID, &page[i]); err != nil {
					return err
				}
			}
			after = page[len(page)-1].Name
		}
	}
	return nil
}

func (d *dumper) oneSeries(p PlaceID, s *Series) error {
	versions := make([]dumpSeriesVersion, len(s.Versions))
	for i := range s.Versions {
		v := &s.Versions[i]
		x := dumpSeriesVersion{ID: v.ID, dumpVersion: versionOf(v.Version), Size: v.Size, Marker: v.Marker, Latest: v.Latest, Missing: stamp(v.Missing)}
		if v.Meta != [8]byte{} {
			x.Meta = hex.EncodeToString(v.Meta[:])
		}
		for _, r := range v.Replicas {
			x.Replicas = append(x.Replicas, dumpSeriesReplica{Route: r.Route, State: r.State.String(), ID: r.ID, ETag: r.ETag,
				Written: stamp(r.Written), Confirmed: stamp(r.Confirmed),
				Current: r.Current, Touched: r.Touched, Adopted: r.Adopted, Note: r.Note})
		}
		versions[i] = x
	}
	return d.line(struct {
		Type  string  `json:"type"`
		Place PlaceID `json:"place"`
		text
		Versions []dumpSeriesVersion `json:"versions"`
	}{"series", p, textOf(s.Name), versions})
}

func (d *dumper) needs() error {
	routes, err := d.l.Routes()
	if err != nil {
		return err
	}
	type line struct {
		Type  string  `json:"type"`
		Route RouteID `json:"route"`
		text
		Needs []string `json:"needs"`
	}
	for _, r := range routes {
		for pos, more := "", true; more; {
			var lines []line
			err := d.l.view("dump needs", func(tx *bbolt.Tx) error {
				var err error
				pos, more, err = d.l.needsPage(tx, r.ID, pos, func(name string, needs []Need) {
					x := line{Type: "needs", Route: r.ID, text: textOf(name)}
					for _, n := range needs {
						x.Needs = append(x.Needs, hex.EncodeToString(n[:]))
					}
					lines = append(lines, x)
				})
				return err
			})
			if err != nil {
				return err
			}
			for _, x := range lines {
				if err := d.line(x); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (d *dumper) along() error {
	places, err := d.l.Places()
	if err != nil {
		return err
	}
	for _, p := range places {
		all, err := d.l.Companions(p.ID)
		if err != nil {
			return err
		}
		for _, c := range all {
			err := d.line(struct {
				Type      string  `json:"type"`
				Place     PlaceID `json:"place"`
				Container string  `json:"container"`
				Prefix    string  `json:"prefix,omitempty"`
			}{"companion", p.ID, c.Container, c.Prefix})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *dumper) properties() error {
	routes, err := d.l.Routes()
	if err != nil {
		return err
	}
	for _, r := range routes {
		digest, at, ok, err := d.l.Properties(r.ID)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		err = d.line(struct {
			Type   string  `json:"type"`
			Route  RouteID `json:"route"`
			Digest string  `json:"digest"`
			At     string  `json:"at,omitempty"`
		}{"properties", r.ID, hex.EncodeToString(digest[:]), stamp(at)})
		if err != nil {
			return err
		}
	}
	return nil
}
