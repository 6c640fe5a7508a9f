package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// Server serves one ledger's socket.
type Server struct {
	path string
	http *http.Server
	done chan struct{}
}

// Serve opens the socket of a ledger. The caller must hold the ledger for writing,
// and must Close the server before it lets go of the ledger.
func Serve(ledger string, h Handler) (*Server, error) {
	path := Path(ledger)
	if err := makeRoom(path); err != nil {
		return nil, err
	}
	l, err := listen(path)
	if err != nil {
		return nil, fmt.Errorf("open the control socket %s: %w", path, err)
	}
	s := &Server{path: path, done: make(chan struct{}), http: &http.Server{
		Handler: routes(h), ReadHeaderTimeout: patience, ReadTimeout: patience, WriteTimeout: patience}}
	go s.serve(l)
	return s, nil
}

// Allow lets the members of a group of the system connect, too (mode 0660), or, with an
// empty name, nobody but the user and root again. The user must be in the group. Folders
// above the socket have modes of their own, which are not changed.
func (s *Server) Allow(group string) error {
	if err := allow(s.path, group); err != nil {
		return fmt.Errorf("let group %s use the control socket %s: %w", group, s.path, err)
	}
	return nil
}

// patience bounds one exchange on the socket, on both sides: both ends are on this
// machine and nothing that is answered takes work.
const patience = 5 * time.Second

func (s *Server) serve(l net.Listener) {
	defer close(s.done)
	_ = s.http.Serve(l) // http.ErrServerClosed, by Close
}

// Path is where the socket lies.
func (s *Server) Path() string { return s.path }

// Close lets exchanges under way end, and removes the socket.
func (s *Server) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.http.Close()
	}
	<-s.done
	return err
}

func routes(h Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, h.Status()) })
	mux.HandleFunc("POST /v1/limits", func(w http.ResponseWriter, r *http.Request) {
		var want Limits
		if !read(w, r, &want) {
			return
		}
		switch one := (want.Policy == "") != (want.Pair == ""); {
		case want.Total != nil && want.Rate == nil && want.Policy+want.Pair == "":
			h.SetTotalLimit(*want.Total)
		case want.Total == nil && want.Rate != nil && one:
			if err := h.SetLimit(Limit{Policy: want.Policy, Pair: want.Pair, Rate: *want.Rate}); err != nil {
				refuse(w, http.StatusConflict, err.Error())
				return
			}
		default:
			refuse(w, http.StatusBadRequest, "no limit is named: say total, or rate with a policy or a pair, in bytes a second")
			return
		}
		reply(w, http.StatusOK, h.Status())
	})
	mux.HandleFunc("POST /v1/tasks", func(w http.ResponseWriter, r *http.Request) {
		var want Order
		if !read(w, r, &want) {
			return
		}
		if want.Do != Pause && want.Do != Resume && want.Do != RunNow && want.Do != Cancel {
			refuse(w, http.StatusBadRequest, fmt.Sprintf("%q is no order: say pause, resume, run or cancel", want.Do))
			return
		}
		var no *Refusal
		switch err := h.Order(want); {
		case errors.As(err, &no) && no.Usage:
			reply(w, http.StatusUnprocessableEntity, map[string]string{"error": no.Msg, "hint": no.Hint})
			return
		case err != nil:
			refuse(w, http.StatusConflict, err.Error())
			return
		}
		reply(w, http.StatusOK, h.Status())
	})
	mux.HandleFunc("POST /v1/run", run(h))
	mux.HandleFunc("POST /v1/cancel", func(w http.ResponseWriter, r *http.Request) {
		var want Cancelled
		if !read(w, r, &want) {
			return
		}
		if err := h.Cancel(want); err != nil {
			refuse(w, http.StatusConflict, err.Error())
			return
		}
		reply(w, http.StatusOK, h.Status())
	})
	mux.HandleFunc("POST /v1/stop", func(w http.ResponseWriter, _ *http.Request) {
		h.Stop()
		reply(w, http.StatusAccepted, h.Status())
	})
	return mux
}

// read takes a request's body, or refuses it.
func read(w http.ResponseWriter, r *http.Request, into any) bool {
	return readUpTo(w, r, 4<<10, into)
}

func readUpTo(w http.ResponseWriter, r *http.Request, most int64, into any) bool {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, most))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		refuse(w, http.StatusBadRequest, "the body makes no sense: "+err.Error())
		return false
	}
	return true
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // whoever asked may have gone
}

func refuse(w http.ResponseWriter, status int, text string) {
	reply(w, status, map[string]string{"error": text})
}
