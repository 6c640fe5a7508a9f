package store

import "encoding/json"

// The lines of restore points, works and drills are their records with times as text.
type dumpPoint struct {
	Type string `json:"type"`
	Point
	Taken  string     `json:"taken,omitempty"`
	Made   string     `json:"made,omitempty"`
	Gone   string     `json:"gone,omitempty"`
	Copies []dumpCopy `json:"copies,omitempty"`
}

type dumpCopy struct {
	PointCopy
	Began   string    `json:"began,omitempty"`
	Shipped string    `json:"shipped,omitempty"`
	Landed  string    `json:"landed,omitempty"`
	Proof   dumpProof `json:"proof,omitzero"`
}

type dumpProof struct {
	At     string `json:"at"`
	Kind   string `json:"kind"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail,omitempty"`
}

func (d *dumper) points() error {
	return d.l.scan("dump points", bucketPoints, nil, func(k, v []byte) error {
		p, err := decodePoint(k, v)
		if err != nil {
			return corrupt(d.l.path, err, "point %q", k)
		}
		line := dumpPoint{Type: "point", Point: p, Taken: stamp(p.Taken), Made: stamp(p.Made), Gone: stamp(p.Gone)}
		for _, c := range p.Copies {
			line.Copies = append(line.Copies, dumpCopy{PointCopy: c, Began: stamp(c.Began), Shipped: stamp(c.Shipped), Landed: stamp(c.Landed),
				Proof: dumpProof{stamp(c.Proof.At), c.Proof.Kind, c.Proof.OK, c.Proof.Detail}})
		}
		return d.line(line)
	})
}

func (d *dumper) works() error {
	return d.l.scan("dump works", bucketWorks, nil, func(k, v []byte) error {
		w, err := decodeWork(k, v)
		if err != nil {
			return corrupt(d.l.path, err, "work %q", k)
		}
		return d.line(struct {
			Type string `json:"type"`
			Work
			Began string `json:"began,omitempty"`
			Data  any    `json:"data,omitempty"`
		}{"work", w, stamp(w.Began), plain(w.Data)})
	})
}

func (d *dumper) drills() error {
	return d.l.scan("dump drills", bucketDrills, nil, func(k, v []byte) error {
		x, err := decodeDrill(k, v)
		if err != nil {
			return corrupt(d.l.path, err, "drill %q", k)
		}
		return d.line(struct {
			Type string `json:"type"`
			Drill
			Began  string `json:"began,omitempty"`
			Report any    `json:"report,omitempty"`
		}{"drill", x, stamp(x.Began), plain(x.Report)})
	})
}

// plain gives JSON as itself, and what is none in base64.
func plain(data []byte) any {
	switch {
	case len(data) == 0:
		return nil
	case json.Valid(data):
		return json.RawMessage(data)
	}
	return data
}
