package cinder

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/gophercloud/gophercloud/v2"

	"farshore/transport"
)

// fail makes the error of a call of gophercloud's. op names verb and item: "create
// backup of snapshot ID".
func (s *Storage) fail(op string, err error) *transport.Error {
	f := &transport.Error{Op: op, Region: s.region.Name(), Err: err}
	var (
		known *transport.Error
		code  gophercloud.ErrUnexpectedResponseCode
		u     *url.Error
	)
	switch {
	case errors.As(err, &known): // the login's, or the wire's, own judgement
		f.Class, f.Status, f.After, f.TxID, f.Hint, f.Err = known.Class, known.Status, known.After, known.TxID, known.Hint, known.Err
		if f.Err == nil {
			f.Err = errors.New(known.Class.String())
		}
		if known.Op == "log in" {
			f.Op = known.Op
		}
	case errors.As(err, &code):
		s.refused(f, code)
	default:
		f.Class = transport.ClassOf(err)
		var syntax *json.SyntaxError
		var kind *json.UnmarshalTypeError
		if errors.As(err, &syntax) || errors.As(err, &kind) {
			f.Err = fmt.Errorf("the reply is not what Cinder answers: %w", err)
			f.Hint = "check that the endpoint is a Cinder's: farshore region check " + f.Region
		} else if errors.As(err, &u) {
			f.Err = u.Err // the URL says nothing that Op and Region do not
		}
	}
	return f
}

// refused takes in a reply that is a failure. Cinder says {"badRequest": {"code": 400,
// "message": "…"}}, with another name for each status (cinder/api/openstack/wsgi.py, Fault).
func (s *Storage) refused(f *transport.Error, code gophercloud.ErrUnexpectedResponseCode) {
	f.Status = code.Actual
	for _, name := range []string{"X-Openstack-Request-Id", "X-Compute-Request-Id"} {
		if f.TxID == "" {
			f.TxID = code.ResponseHeader.Get(name)
		}
	}
	now, err := http.ParseTime(code.ResponseHeader.Get("Date"))
	if err != nil {
		now = s.o.Clock()
	}
	f.After = transport.RetryAfter(code.ResponseHeader.Get("Retry-After"), now)
	text := message(code.Body)
	f.Class, f.Hint = classify(f.Region, code.Actual, text)
	cause := strings.TrimSpace(fmt.Sprint(code.Actual, " ", http.StatusText(code.Actual)))
	if text != "" {
		cause += ": " + text
	}
	f.Err = errors.New(cause)
}

// message gives the server's own words.
func message(body []byte) string {
	var fault map[string]struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(body, &fault) == nil {
		for _, v := range fault {
			if v.Message != "" {
				return transport.OneLine(v.Message)
			}
		}
	}
	return transport.OneLine(string(body))
}

// What Cinder says (cinder/exception.py, quota_utils.py, policy.py).
var (
	policyRule = regexp.MustCompile(`(?i)policy doesn't allow (\S+) to be performed`)
	namedQuota = regexp.MustCompile(`exceeded for quota '([^']+)'|exceeds allowed (\S+) quota|over quota on (\S+?)\.?$`)
	countQuota = regexp.MustCompile(`(?i)maximum number of (\S+) allowed`)
	badStatus  = regexp.MustCompile(`(?i)status must be|must be available|must not be migrating|current status is|current status of|must use the force flag`)
)

// classify gives a reply its class and, where more is known than the class's own hint
// says, a hint.
func classify(region string, status int, text string) (transport.Class, string) {
	switch status {
	case http.StatusBadRequest, http.StatusConflict:
		switch {
		case strings.Contains(text, "already exists in database"):
			return transport.Exists, "a backup of this id is there already, perhaps another project's: openstack volume backup show as an admin tells whose"
		case strings.Contains(text, "Incremental backups exist"):
			return transport.Changed, "delete the backups that are increments upon it first"
		case strings.Contains(text, "No backups available to do an incremental"):
			return transport.Changed, "there is nothing to make an increment upon: make a full backup"
		case badStatus.MatchString(text) || status == http.StatusConflict:
			return transport.Changed, "its status does not allow it now: wait until what is going on there has ended, or have an admin reset a status that is stuck"
		}
		return transport.Permanent, ""
	case http.StatusForbidden:
		if rule := ruleOf(text); rule != "" {
			return transport.Denied, fmt.Sprintf("Cinder's policy rule %s does not allow it to this login: have an admin of region %s allow the rule to a role of it", rule, region)
		}
	case http.StatusRequestEntityTooLarge:
		if q := quotaOf(text); q != "" {
			return transport.Quota, fmt.Sprintf("have the project's quota %q raised in region %s, or delete what is not needed there", q, region)
		}
		return transport.Quota, "have the project's quota of volumes, snapshots, backups or gigabytes raised in region " + region
	case http.StatusNotFound, http.StatusServiceUnavailable:
		// A delete or restore of a backup answers 404 when no cinder-backup is up, an import 503.
		if strings.HasPrefix(text, "Service ") && strings.Contains(text, "could not be found") {
			return transport.Transient, "no service of this name runs in region " + region + ": its operator sees why"
		}
		if status == http.StatusNotFound && strings.Contains(text, "Volume type") {
			return transport.NotFound, "openstack volume type list shows the types of region " + region + "; volume_types in the policy says which stands for which"
		}
	}
	return transport.ClassOfStatus(status), ""
}

// ruleOf is the rule of Cinder's policy that a reply names; "" if it names none.
func ruleOf(text string) string {
	if m := policyRule.FindStringSubmatch(text); m != nil {
		return m[1]
	}
	return ""
}

// quotaOf is the quota that a reply names, as os-quota-sets calls it; "" if it names none.
func quotaOf(text string) string {
	if strings.Contains(text, "Backup gigabytes") {
		return "backup_gigabytes"
	}
	if m := namedQuota.FindStringSubmatch(text); m != nil {
		return m[1] + m[2] + m[3]
	}
	if m := countQuota.FindStringSubmatch(text); m != nil {
		return m[1]
	}
	return ""
}
