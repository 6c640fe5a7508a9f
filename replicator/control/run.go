package control

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"farshore/replicator/report"
)

// Request is a command that somebody wants the holder of a ledger to carry out on it: the
// holder has the ledger, the logins and the limits; what is typed, shown and written to
// files is the asker's.
type Request struct {
	Command string   `json:"command"` // its words, such as "ledger dump"
	Args    []string `json:"args"`    // its flags and arguments
	Typed   string   `json:"typed"`   // the whole line, for whoever asks what runs
	PID     int      `json:"pid"`     // of the asker
	Version string   `json:"version"` // of the asker
	// Policies is the policy file as the asker read it; nil: it found none.
	Policies *PolicyFile `json:"policies"`
	// Clouds tells one clouds.yaml from another: clouds by the same name need not be the
	// same. Empty: the asker has none.
	Clouds string `json:"clouds"`
}

// PolicyFile is a policy file and what the asker calls it.
type PolicyFile struct {
	Name string `json:"name"`
	Text []byte `json:"text"`
}

// Command is one that the holder carries out for somebody.
type Command struct {
	ID      string          `json:"id"`
	Command string          `json:"command"` // as it was typed
	PID     int             `json:"pid"`     // of who asked
	Began   time.Time       `json:"began"`
	Waits   []string        `json:"waits_for"` // what works on its policy now; empty: it works itself
	Writes  bool            `json:"writes"`
	Ending  bool            `json:"ending"` // it was cancelled and is finishing
	Now     report.Snapshot `json:"snapshot"`
}

// Cancelled is how a command is to end.
type Cancelled struct {
	ID  string `json:"id"`
	How string `json:"how"` // interrupted, terminated or stopped; empty: stopped
}

// Refusal is why a request was not begun.
type Refusal struct {
	Msg, Hint string
	Usage     bool // what was asked for cannot be meant: as a wrong command line
}

func (r *Refusal) Error() string { return r.Msg }

// ErrOld says that the holder knows nothing of passed-on commands.
var ErrOld = errors.New("it is of a version that carries out no commands for others")

// Output is where a command's output goes: to who asked. A nil func is not called.
type Output struct {
	Begun    func(id string)
	Stdout   io.Writer
	Stderr   io.Writer
	Progress func(s *report.Snapshot) // nil: nothing more is to be shown
	// File is a file that the asker is to write; data comes until the next name.
	File func(name string) (io.WriteCloser, error)
}

// A reply to a request is a row of frames: a byte that says of what, the length as four
// bytes, the most significant first, and so many bytes.
const (
	frameBegun    = 'b' // the command's id
	frameStdout   = 'o'
	frameStderr   = 'e'
	frameProgress = 'p' // a snapshot as JSON; empty: no more
	frameFile     = 'f' // the name of a file
	frameData     = 'd' // bytes of that file
	frameClose    = 'c' // it is whole
	frameExit     = 'x' // the exit code; the last frame
)

const (
	frameMost = 1 << 20 // bytes of one frame
	// slowest is how long an asker may take nothing of what it is sent, as one whose
	// pager waits for a key does, before its command is ended.
	slowest = 5 * time.Minute
	// requestMost bounds a request: a policy file is the largest part of it.
	requestMost = 4 << 20
)

// Stream sends a command's output to who asked. Its methods may be called concurrently.
type Stream struct {
	mu  sync.Mutex
	w   http.ResponseWriter
	c   *http.ResponseController
	err error // the first that failed: who asked has gone
}

func (s *Stream) send(kind byte, b []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for first := true; s.err == nil && (first || len(b) > 0); first = false {
		part := b[:min(len(b), frameMost)]
		b = b[len(part):]
		head := binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(part)))
		if s.err = s.c.SetWriteDeadline(within(slowest)); s.err == nil {
			_, s.err = s.w.Write(append(head, part...))
		}
	}
	if s.err == nil {
		s.err = s.c.Flush()
	}
	return s.err
}

// within is a deadline of a connection, which the system's clock keeps.
func within(d time.Duration) time.Time {
	return time.Now().Add(d) //nolint:forbidigo // of the socket, not of the work
}

type streamWriter struct {
	s    *Stream
	kind byte
}

func (w streamWriter) Write(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	if err := w.s.send(w.kind, b); err != nil {
		return 0, fmt.Errorf("send to who asked: %w", err)
	}
	return len(b), nil
}

// Begun says that the command is begun, under that id.
func (s *Stream) Begun(id string) error { return s.send(frameBegun, []byte(id)) }

// Stdout is the asker's standard output.
func (s *Stream) Stdout() io.Writer { return streamWriter{s, frameStdout} }

// Stderr is the asker's standard error.
func (s *Stream) Stderr() io.Writer { return streamWriter{s, frameStderr} }

// Progress shows how far it is; nil shows nothing more.
func (s *Stream) Progress(x *report.Snapshot) {
	var b []byte
	if x != nil {
		b, _ = json.Marshal(x) // numbers and texts
	}
	_ = s.send(frameProgress, b) // whoever watches may have gone
}

// Create has the asker make a file, by a name as it was asked for. One file is written at
// a time.
func (s *Stream) Create(name string) (io.WriteCloser, error) {
	if err := s.send(frameFile, []byte(name)); err != nil {
		return nil, fmt.Errorf("send to who asked: %w", err)
	}
	return &sentFile{streamWriter{s, frameData}}, nil
}

type sentFile struct{ streamWriter }

// Close says that the file is whole.
func (f *sentFile) Close() error { return f.s.send(frameClose, nil) }

// run serves POST /v1/run.
func run(h Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c := http.NewResponseController(w)
		_ = c.SetReadDeadline(within(patience))
		var want Request
		if !readUpTo(w, r, requestMost, &want) {
			return
		}
		// Without a deadline the connection is watched: the request's context ends when who
		// asked has gone.
		_, _ = io.Copy(io.Discard, r.Body) // the connection is watched from its end on
		_ = c.SetReadDeadline(time.Time{})
		s := &Stream{w: w, c: c}
		w.Header().Set("Content-Type", "application/vnd.farshore.frames")
		code, err := h.Run(r.Context(), want, s)
		var no *Refusal
		switch {
		case errors.As(err, &no):
			_ = c.SetWriteDeadline(within(patience))
			reply(w, http.StatusConflict, map[string]string{"error": no.Msg, "hint": no.Hint})
		case err != nil:
			_ = c.SetWriteDeadline(within(patience))
			refuse(w, http.StatusInternalServerError, err.Error())
		default:
			_ = s.send(frameExit, []byte{byte(code)})
		}
	}
}

// Run has the holder carry out a command and gives its exit code. When ctx ends, the
// holder is told to end it as how says, and Run goes on until it has. Errors: ErrNobody,
// ErrOld, *Refusal, and what cut the connection or kept a file from being written.
func (c *Client) Run(ctx context.Context, r Request, how func() string, out Output) (code int, err error) {
	b, err := json.Marshal(r)
	if err != nil {
		return 0, fmt.Errorf("encode a request: %w", err)
	}
	// Its own context: the end of ctx must not cut the last words off.
	life, hangUp := context.WithCancel(context.WithoutCancel(ctx))
	defer hangUp()
	req, err := http.NewRequestWithContext(life, http.MethodPost, "http://farshore/v1/run", bytes.NewReader(b))
	if err != nil {
		return 0, fmt.Errorf("make a request: %w", err)
	}
	long := *c.http
	long.Timeout = 0
	resp, err := long.Do(req)
	if err != nil {
		return 0, c.unreached(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return 0, c.refused(resp)
	}
	f := &frames{in: resp.Body, out: out}
	for {
		kind, body, err := f.next()
		if err != nil {
			return 0, errors.Join(fmt.Errorf("control socket %s: the holder has gone in the middle of it: %w", c.path, err), f.close())
		}
		if kind == frameBegun {
			defer context.AfterFunc(ctx, func() { c.cancel(life, Cancelled{ID: string(body), How: how()}) })()
		}
		if kind == frameExit && len(body) == 1 {
			return int(body[0]), f.close()
		}
		if err := f.take(kind, body); err != nil {
			return 0, errors.Join(err, f.close())
		}
	}
}

// cancel tells the holder to end a command. When it cannot be told, the end of the
// connection tells it.
func (c *Client) cancel(ctx context.Context, x Cancelled) {
	_, _ = c.Cancel(ctx, x)
}

// Cancel has the holder end a command that it carries out for somebody. It returns at once.
func (c *Client) Cancel(ctx context.Context, x Cancelled) (Status, error) {
	return c.call(ctx, http.MethodPost, "/v1/cancel", x)
}

// frames takes a reply apart.
type frames struct {
	in   io.Reader
	out  Output
	file io.WriteCloser
}

func (f *frames) next() (byte, []byte, error) {
	var head [5]byte
	if _, err := io.ReadFull(f.in, head[:]); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(head[1:])
	if n > frameMost {
		return 0, nil, fmt.Errorf("a frame of %d bytes", n)
	}
	b := make([]byte, n)
	_, err := io.ReadFull(f.in, b)
	return head[0], b, err
}

func (f *frames) take(kind byte, b []byte) (err error) {
	switch kind {
	case frameBegun:
		if f.out.Begun != nil {
			f.out.Begun(string(b))
		}
	case frameStdout:
		_, _ = f.out.Stdout.Write(b) // who writes there notes what fails
	case frameStderr:
		_, _ = f.out.Stderr.Write(b)
	case frameProgress:
		if f.out.Progress == nil {
			return nil
		}
		var s *report.Snapshot
		if len(b) > 0 {
			if err := json.Unmarshal(b, &s); err != nil {
				return fmt.Errorf("read the progress: %w", err)
			}
		}
		f.out.Progress(s)
	case frameFile:
		if err := f.close(); err != nil {
			return err
		}
		if f.file, err = f.out.File(string(b)); err != nil {
			return err
		}
	case frameData:
		if f.file == nil {
			return errors.New("the holder sends bytes of no file")
		}
		if _, err := f.file.Write(b); err != nil {
			return fmt.Errorf("write a file: %w", err)
		}
	case frameClose:
		return f.close()
	}
	return nil
}

func (f *frames) close() error {
	if f.file == nil {
		return nil
	}
	err := f.file.Close()
	f.file = nil
	return err
}
