package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"syscall"
)

// Client asks the process that holds a ledger.
type Client struct {
	path string
	http *http.Client
}

// NewClient makes a client for a ledger's socket; it connects with each call.
func NewClient(ledger string) *Client {
	path := Path(ledger)
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}
	return &Client{path: path, http: &http.Client{Timeout: patience, Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}}
}

// Status asks what the holder is doing; ErrNobody when nobody answers.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return c.call(ctx, http.MethodGet, "/v1/status", nil)
}

// SetTotalLimit changes the limit of all bytes sent (Limits.Total).
func (c *Client) SetTotalLimit(ctx context.Context, bytesPerSecond int64) (Status, error) {
	return c.call(ctx, http.MethodPost, "/v1/limits", Limits{Total: &bytesPerSecond})
}

// SetLimit changes the limit of one policy, or of one pair of regions; a negative rate
// takes it back.
func (c *Client) SetLimit(ctx context.Context, l Limit) (Status, error) {
	return c.call(ctx, http.MethodPost, "/v1/limits", Limits{Policy: l.Policy, Pair: l.Pair, Rate: &l.Rate})
}

// Order has a daemon pause, resume or begin a policy's tasks.
func (c *Client) Order(ctx context.Context, o Order) (Status, error) {
	return c.call(ctx, http.MethodPost, "/v1/tasks", o)
}

// Stop asks the holder to end as SIGTERM does. It returns at once.
func (c *Client) Stop(ctx context.Context) (Status, error) {
	return c.call(ctx, http.MethodPost, "/v1/stop", struct{}{})
}

func (c *Client) call(ctx context.Context, method, path string, body any) (Status, error) {
	var payload io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return Status{}, fmt.Errorf("encode a request: %w", err)
		}
		payload = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://farshore"+path, payload)
	if err != nil {
		return Status{}, fmt.Errorf("make a request: %w", err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return Status{}, c.unreached(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		return Status{}, c.refused(resp)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		return Status{}, fmt.Errorf("control socket %s: %w", c.path, err)
	}
	var s Status
	if err := json.Unmarshal(b, &s); err != nil {
		return Status{}, fmt.Errorf("control socket %s: not a status: %w", c.path, err)
	}
	return s, nil
}

// unreached is why nobody was spoken to.
func (c *Client) unreached(err error) error {
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		err = ErrNobody
	}
	if u := (*url.Error)(nil); errors.As(err, &u) { // the address in it is nobody's
		err = u.Err
	}
	return fmt.Errorf("control socket %s: %w", c.path, err)
}

// refused is what the holder says to a request that it does not carry out.
func (c *Client) refused(resp *http.Response) error {
	var said struct {
		Error string `json:"error"`
		Hint  string `json:"hint"`
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	switch {
	case err != nil:
		return fmt.Errorf("control socket %s: %w", c.path, err)
	case resp.StatusCode == http.StatusNotFound:
		return fmt.Errorf("control socket %s: %w", c.path, ErrOld)
	case json.Unmarshal(b, &said) != nil || said.Error == "":
		said.Error = resp.Status
	case said.Hint != "":
		return &Refusal{Msg: said.Error, Hint: said.Hint, Usage: resp.StatusCode == http.StatusUnprocessableEntity}
	}
	return fmt.Errorf("control socket %s: %s", c.path, said.Error)
}
