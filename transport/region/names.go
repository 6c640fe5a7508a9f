package region

import (
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
