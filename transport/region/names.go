package region

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"gopkg.in/yaml.v2"
)

// Names lists the entries of the clouds.yaml that Open would read, sorted.
func Names() ([]string, error) {
	file, raw, err := findFile("")
	if err != nil {
		return nil, err
	}
	var all struct {
		Clouds map[string]any `yaml:"clouds"`
	}
	if err := yaml.Unmarshal(raw, &all); err != nil {
		return nil, yamlError(file, err)
	}
	names := make([]string, 0, len(all.Clouds))
	for n := range all.Clouds {
		names = append(names, n)
	}
	slices.Sort(names)
	return names, nil
}

// Fingerprint tells whether two processes read the same clouds.yaml: it is a digest of
// its text and of the secure.yaml beside it.
func Fingerprint() (string, error) {
	file, raw, err := findFile("")
	if err != nil {
		return "", err
	}
	secure, err := os.ReadFile(filepath.Join(filepath.Dir(file), "secure.yaml"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("read the file of secrets: %w", err)
	}
	h := sha256.New()
	for _, b := range [][]byte{raw, secure} {
		sum := sha256.Sum256(b)
		h.Write(sum[:])
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
