package fakecloud

import (
	"io"
	"net/http"
	"strconv"
)

// reason gives title and paragraph of Swift's error pages (swob.RESPONSE_REASONS).
func reason(code int) (title, text string) {
	switch code {
	case 202:
		return "Accepted", "The request is accepted for processing."
	case 301:
		return "Moved Permanently", "The resource has moved permanently."
	case 400:
		return "Bad Request", "The server could not comply with the request since it is either malformed or otherwise incorrect."
	case 401:
		return "Unauthorized", "This server could not verify that you are authorized to access the document you requested."
	case 403:
		return "Forbidden", "Access was denied to this resource."
	case 404:
		return "Not Found", "The resource could not be found."
	case 405:
		return "Method Not Allowed", "The method is not allowed for this resource."
	case 406:
		return "Not Acceptable", "The resource is not available in a format acceptable to your browser."
	case 408:
		return "Request Timeout", "The server has waited too long for the request to be sent by the client."
	case 409:
		return "Conflict", "There was a conflict when trying to complete your request."
	case 411:
		return "Length Required", "Content-Length header required."
	case 412:
		return "Precondition Failed", "A precondition for this request was not met."
	case 413:
		return "Request Entity Too Large", "The body of your request was too large for this server."
	case 416:
		return "Requested Range Not Satisfiable", "The Range requested is not available."
	case 422:
		return "Unprocessable Entity", "Unable to process the contained instructions"
	case 498:
		return "Rate Limited", "Slow down"
	case 499:
		return "Client Disconnect", "The client was disconnected during request."
	case 500:
		return "Internal Error", "The server has either erred or is incapable of performing the requested operation."
	case 503:
		return "Service Unavailable", "The server is currently unavailable. Please try again at a later time."
	}
	return http.StatusText(code), ""
}

func (q *request) fail(code int) {
	if q.block {
		q.failBlock(code, "")
		return
	}
	title, text := reason(code)
	if text == "" {
		q.send(code, "text/html; charset=UTF-8", "")
		return
	}
	q.send(code, "text/html; charset=UTF-8", "<html><h1>"+title+"</h1><p>"+text+"</p></html>")
}

// failText answers with a body of our own words, in Swift's text/html default.
func (q *request) failText(code int, text string) {
	q.sendText(code, "text/html; charset=UTF-8", text)
}

func (q *request) failPlain(code int, text string) { q.sendText(code, "text/plain", text) }

// sendText is send, but a HEAD is told the length, as Swift's middlewares do.
func (q *request) sendText(code int, ctype, text string) {
	if q.r.Method != http.MethodHead {
		q.send(code, ctype, text)
		return
	}
	h := q.w.Header()
	h["Content-Type"], h["Content-Length"] = []string{ctype}, []string{strconv.Itoa(len(text))}
	q.w.WriteHeader(code)
}

// heldReply is a reply that becomes part of a report.
type heldReply struct {
	code int
	body string
}

// send answers with a small body, which HEAD does not get.
func (q *request) send(code int, ctype, body string) {
	if q.held != nil {
		*q.held = heldReply{code, body}
		return
	}
	h := q.w.Header()
	h["Content-Type"] = []string{ctype}
	if q.r.Method == http.MethodHead {
		body = ""
	}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	q.w.WriteHeader(code)
	if body != "" {
		// Nobody is left to tell when the client has gone.
		_, _ = io.WriteString(q.w, body)
	}
}

// notAllowed answers 405.
func (q *request) notAllowed() {
	q.w.Header()["Allow"] = []string{corsMethods}
	q.fail(http.StatusMethodNotAllowed)
}

// done answers with an empty body.
func (q *request) done(code int) { q.send(code, "text/html; charset=UTF-8", "") }
