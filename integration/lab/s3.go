package lab

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// S3 speaks the S3 API of a region's Swift for one account. Its requests are signed by
// AWS signature version 2, which is one HMAC and which Swift's s3api still takes.
type S3 struct{ base, access, secret string }

// S3 makes EC2 credentials for a client's user and project (OS-EC2, POST
// /users/ID/credentials/OS-EC2) and gives the S3 API with them.
func (l *Lab) S3(t testing.TB, cloud, user, project string) *S3 {
	t.Helper()
	c := l.Client(t, cloud)
	body := []byte(`{"tenant_id": "` + l.ProjectID(project) + `"}`)
	r := send(t, http.MethodPost, c.authURL+"/users/"+l.UserID(user)+"/credentials/OS-EC2",
		map[string]string{"Content-Type": "application/json", "X-Auth-Token": c.token}, body).Want(t, http.StatusCreated)
	var doc struct {
		Credential struct{ Access, Secret string }
	}
	if err := json.Unmarshal(r.Body, &doc); err != nil {
		t.Fatalf("parse credentials: %v", err)
	}
	u, err := url.Parse(c.URL)
	if err != nil {
		t.Fatal(err)
	}
	return &S3{base: u.Scheme + "://" + u.Host, access: doc.Credential.Access, secret: doc.Credential.Secret}
}

// Call sends a request for /bucket/key?query. Of the query only what S3 signs may be given.
func (s *S3) Call(t testing.TB, method, path string, body []byte) Reply {
	t.Helper()
	date := time.Now().UTC().Format(http.TimeFormat)
	mac := hmac.New(sha1.New, []byte(s.secret))
	mac.Write([]byte(strings.Join([]string{method, "", "application/octet-stream", date, path}, "\n")))
	h := map[string]string{"Date": date, "Content-Type": "application/octet-stream",
		"Authorization": "AWS " + s.access + ":" + base64.StdEncoding.EncodeToString(mac.Sum(nil))}
	return send(t, method, s.base+path, h, body)
}
