package region

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/config/clouds"
	"gopkg.in/yaml.v2"
)

// cloud is a login as clouds.yaml describes it.
type cloud struct {
	auth     gophercloud.AuthOptions
	endpoint gophercloud.EndpointOpts
	tls      *tls.Config
	override map[string]string // service type to URL
}

// secrets are the strings that may never be printed.
func (c *cloud) secrets() []string {
	return []string{c.auth.Password, c.auth.ApplicationCredentialSecret, c.auth.TokenID, c.auth.Passcode}
}

// entry is what clouds.Parse loses: the endpoint overrides.
type entry struct {
	clouds.Cloud `yaml:",inline"`
	Other        map[string]any `yaml:",inline"`
}

// loadCloud finds the file and its entry. gophercloud reads the entry; around it
// are put the things it leaves out or decides otherwise than we need (G6):
//   - region and interface never come from OS_REGION_NAME or OS_INTERFACE: with two
//     regions open in one process, a sourced openrc would make them one and the same;
//   - AllowReauth, without which the login ends with its first token;
//   - regions: lists, endpoint overrides, default domains, auth_type.
func loadCloud(c Config) (*cloud, error) {
	name := c.Cloud
	if name == "" {
		if name = os.Getenv("OS_CLOUD"); name == "" {
			name = "envvars"
		}
	}
	fromEnv := name == "env" || name == "envvars"
	file, raw, err := findFile(c.CloudsFile)
	if err != nil {
		if fromEnv {
			return fromEnvironment(c)
		}
		return nil, err
	}
	var all struct {
		Clouds map[string]entry `yaml:"clouds"`
	}
	if err := yaml.Unmarshal(raw, &all); err != nil {
		return nil, yamlError(file, err)
	}
	e, ok := all.Clouds[name]
	if !ok {
		if fromEnv {
			return fromEnvironment(c)
		}
		names := make([]string, 0, len(all.Clouds))
		for n := range all.Clouds {
			names = append(names, n)
		}
		slices.Sort(names)
		return nil, fmt.Errorf("no cloud %q in %s; it has: %s", name, file, strings.Join(names, ", "))
	}
	regionName, values, err := pickRegion(e.Cloud, c.RegionName)
	if err != nil {
		return nil, fmt.Errorf("cloud %q in %s: %w", name, file, err)
	}
	if e.AuthInfo == nil { // clouds.Parse would panic
		e.AuthInfo = &clouds.AuthInfo{}
		if values == nil {
			values = &clouds.Cloud{}
		}
	}
	if values != nil {
		if raw, err = overlay(name, e.Cloud, *values); err != nil {
			return nil, fmt.Errorf("cloud %q in %s: %w", name, file, err)
		}
	}
	options := []clouds.ParseOption{clouds.WithCloudName(name), clouds.WithCloudsYAML(bytes.NewReader(raw)),
		clouds.WithRegion(regionName), clouds.WithEndpointType(c.Interface)}
	if e.CACertFile != "" {
		options = append(options, clouds.WithCACertPath(e.CACertFile)) // wins over OS_CACERT
	}
	secure := filepath.Join(filepath.Dir(file), "secure.yaml")
	if b, err := os.ReadFile(secure); err == nil {
		options = append(options, clouds.WithSecureYAML(bytes.NewReader(b)))
	} else if !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("read %s: %w", secure, errors.Unwrap(err))
	}
	auth, endpoint, conf, err := clouds.Parse(options...)
	if err != nil {
		return nil, yamlError(file, err)
	}
	out := &cloud{auth: auth, endpoint: endpoint, tls: conf, override: overrides(e.Other)}
	if err := out.complete(string(e.AuthType), e.AuthInfo.DefaultDomain); err != nil {
		return nil, fmt.Errorf("cloud %q in %s: %w", name, file, err)
	}
	return out, nil
}

// findFile reads the first clouds.yaml of the search path.
func findFile(file string) (string, []byte, error) {
	places := []string{file}
	if file == "" {
		if f := os.Getenv("OS_CLIENT_CONFIG_FILE"); f != "" {
			places = []string{f}
		} else {
			user := os.Getenv("XDG_CONFIG_HOME")
			if home, err := os.UserHomeDir(); user == "" && err == nil {
				user = filepath.Join(home, ".config")
			}
			places = []string{"clouds.yaml", filepath.Join(user, "openstack", "clouds.yaml"),
				"/etc/openstack/clouds.yaml"}
		}
	}
	for _, p := range places {
		b, err := os.ReadFile(p)
		switch {
		case err == nil:
			return p, b, nil
		case len(places) == 1 || !errors.Is(err, os.ErrNotExist):
			return p, nil, fmt.Errorf("read the clouds file: %w", err)
		}
	}
	return "", nil, fmt.Errorf("no clouds.yaml found; looked for %s", strings.Join(places, ", "))
}

var yamlLine = regexp.MustCompile(`line \d+`)

// yamlError keeps the line of a YAML error and drops its text, which quotes values
// of the file.
func yamlError(file string, err error) error {
	var typed *yaml.TypeError
	if errors.As(err, &typed) || strings.Contains(err.Error(), "yaml: ") {
		lines := slices.Compact(yamlLine.FindAllString(err.Error(), 4))
		if len(lines) == 0 {
			return fmt.Errorf("%s is not the YAML of a clouds file", file)
		}
		return fmt.Errorf("%s is not the YAML of a clouds file: see %s", file, strings.Join(lines, ", "))
	}
	return fmt.Errorf("%s: %w", file, err)
}

// pickRegion chooses the region: the wanted one, else region_name, else the only
// one of a regions: list. values are those of the list's entry, or nil.
func pickRegion(c clouds.Cloud, want string) (string, *clouds.Cloud, error) {
	if want == "" {
		want = c.RegionName
	}
	names := make([]string, len(c.Regions))
	for i, r := range c.Regions {
		names[i] = r.Name
	}
	switch {
	case len(names) == 0:
		return want, nil, nil
	case want == "" && len(names) > 1:
		return "", nil, fmt.Errorf("it lists several regions (%s): say which one", strings.Join(names, ", "))
	case want == "":
		want = names[0]
	}
	i := slices.Index(names, want)
	if i < 0 {
		return "", nil, fmt.Errorf("it has no region %q; it lists %s", want, strings.Join(names, ", "))
	}
	v := c.Regions[i].Values
	if b, err := json.Marshal(v); err != nil || string(b) == "{}" {
		return want, nil, nil
	}
	return want, &v, nil
}

// overlay puts a region's values over its cloud and writes the result as a file of
// one cloud. JSON is YAML, and keeps strings like 0123 strings.
func overlay(name string, c, values clouds.Cloud) ([]byte, error) {
	c.Regions = nil
	low, err := json.Marshal(c)
	if err != nil {
		return nil, errors.New("cannot be merged with its region's values")
	}
	high, err := json.Marshal(values)
	if err != nil {
		return nil, errors.New("cannot be merged with its region's values")
	}
	// Decoding over a filled value changes only the fields that are present.
	var merged clouds.Cloud
	for _, b := range [][]byte{low, high} {
		if err := json.Unmarshal(b, &merged); err != nil {
			return nil, errors.New("cannot be merged with its region's values")
		}
	}
	return json.Marshal(clouds.Clouds{Clouds: map[string]clouds.Cloud{name: merged}})
}

// normalType gives a service type the form of the catalog: object_store is object-store.
func normalType(s string) string { return strings.ReplaceAll(s, "_", "-") }

func overrides(other map[string]any) map[string]string {
	out := map[string]string{}
	for k, v := range other {
		s, ok := v.(string)
		service, cut := strings.CutSuffix(normalType(k), "-endpoint-override")
		if ok && cut && s != "" {
			out[service] = s
		}
	}
	return out
}

// complete sets what gophercloud leaves open, and refuses what it cannot do.
func (c *cloud) complete(authType, domain string) error {
	switch authType {
	case "", "password", "v3password", "token", "v3token", "v3applicationcredential", "v3multifactor":
	default:
		return fmt.Errorf("auth_type %q is not supported; use v3password, v3token or v3applicationcredential", authType)
	}
	a := &c.auth
	if a.IdentityEndpoint == "" {
		return errors.New("it has no auth_url")
	}
	if domain == "" {
		domain = "default" // as python's clients have it
	}
	switch {
	case a.ApplicationCredentialID != "" || a.ApplicationCredentialName != "":
		if a.ApplicationCredentialSecret == "" {
			return errors.New("it has no application_credential_secret")
		}
		// The credential is the scope; a project beside it is refused by Keystone.
		a.Scope, a.TenantID, a.TenantName, a.Password = nil, "", "", ""
		if a.ApplicationCredentialID != "" {
			a.Username, a.UserID, a.DomainID, a.DomainName = "", "", "", ""
		}
		a.AllowReauth = true
	case a.TokenID != "" && a.Password == "":
		a.AllowReauth = false // a token cannot make another one for ever
	default:
		if a.Username == "" && a.UserID == "" {
			return errors.New("it has no username")
		}
		if a.Password == "" {
			return errors.New("it has no password")
		}
		a.TokenID = ""
		a.AllowReauth = true
	}
	if a.Username != "" && a.DomainID == "" && a.DomainName == "" && a.TokenID == "" {
		a.DomainID = domain
	}
	if a.UserID != "" {
		a.Username, a.DomainID, a.DomainName = "", "", ""
	}
	if s := a.Scope; s != nil && s.ProjectName != "" && s.DomainID == "" && s.DomainName == "" {
		s.DomainID = domain
	}
	return nil
}

// fromEnvironment reads OS_* as the command line clients do.
func fromEnvironment(c Config) (*cloud, error) {
	env := func(names ...string) string {
		for _, n := range names {
			if v := os.Getenv(n); v != "" {
				return v
			}
		}
		return ""
	}
	if env("OS_AUTH_URL") == "" {
		return nil, errors.New("no cloud is named, and OS_AUTH_URL is not set; name an entry of clouds.yaml, or source an openrc file")
	}
	pick := func(first, second string) string {
		if first != "" {
			return first
		}
		return second
	}
	one := clouds.Cloud{
		RegionName: pick(c.RegionName, env("OS_REGION_NAME")),
		Interface:  pick(c.Interface, env("OS_INTERFACE", "OS_ENDPOINT_TYPE")),
		CACertFile: env("OS_CACERT"),
		AuthType:   clouds.AuthType(env("OS_AUTH_TYPE")),
		AuthInfo: &clouds.AuthInfo{
			AuthURL: env("OS_AUTH_URL"), Username: env("OS_USERNAME"), UserID: env("OS_USER_ID"),
			Password: env("OS_PASSWORD"), Token: env("OS_TOKEN", "OS_AUTH_TOKEN"),
			ProjectName: env("OS_PROJECT_NAME", "OS_TENANT_NAME"), ProjectID: env("OS_PROJECT_ID", "OS_TENANT_ID"),
			UserDomainName: env("OS_USER_DOMAIN_NAME"), UserDomainID: env("OS_USER_DOMAIN_ID"),
			ProjectDomainName: env("OS_PROJECT_DOMAIN_NAME"), ProjectDomainID: env("OS_PROJECT_DOMAIN_ID"),
			DomainName: env("OS_DOMAIN_NAME"), DomainID: env("OS_DOMAIN_ID"), DefaultDomain: env("OS_DEFAULT_DOMAIN"),
			ApplicationCredentialID:     env("OS_APPLICATION_CREDENTIAL_ID"),
			ApplicationCredentialName:   env("OS_APPLICATION_CREDENTIAL_NAME"),
			ApplicationCredentialSecret: env("OS_APPLICATION_CREDENTIAL_SECRET"),
		},
	}
	raw, err := json.Marshal(clouds.Clouds{Clouds: map[string]clouds.Cloud{"envvars": one}})
	if err != nil {
		return nil, errors.New("read the environment: a variable is not valid UTF-8")
	}
	options := []clouds.ParseOption{clouds.WithCloudName("envvars"), clouds.WithCloudsYAML(bytes.NewReader(raw)),
		clouds.WithRegion(one.RegionName), clouds.WithEndpointType(one.Interface)}
	if v := strings.ToLower(env("OS_INSECURE")); v == "1" || v == "true" || v == "yes" {
		options = append(options, clouds.WithInsecure(true))
	}
	auth, endpoint, conf, err := clouds.Parse(options...)
	if err != nil {
		return nil, yamlError("the environment", err)
	}
	override := map[string]string{}
	for _, service := range []string{"object-store", "block-storage", "image"} {
		if u := env("OS_" + strings.ToUpper(strings.ReplaceAll(service, "-", "_")) + "_ENDPOINT_OVERRIDE"); u != "" {
			override[service] = u
		}
	}
	out := &cloud{auth: auth, endpoint: endpoint, tls: conf, override: override}
	if err := out.complete(string(one.AuthType), one.AuthInfo.DefaultDomain); err != nil {
		return nil, fmt.Errorf("the environment's login: %w", err)
	}
	return out, nil
}
