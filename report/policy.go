package report

import (
	"encoding/json"

	"go.yaml.in/yaml/v3"

	"github.com/driftline/driftline"
)

// PolicyYAML is a policy as it is written in a file: without what the catalogue fills in.
func PolicyYAML(p *driftline.Policy) (string, error) {
	plain := *p
	plain.Version = 0
	text, err := json.Marshal(plain)
	if err != nil {
		return "", err
	}
	var node yaml.Node // of JSON, which is YAML: it keeps the order of the fields
	if err := yaml.Unmarshal(text, &node); err != nil {
		return "", err
	}
	document := node.Content[0]
	rest := *document
	rest.Content = nil
	for k := 0; k+1 < len(document.Content); k += 2 {
		if document.Content[k].Value != "created" {
			rest.Content = append(rest.Content, document.Content[k], document.Content[k+1])
		}
	}
	blockStyle(&rest)
	out, err := yaml.Marshal(&rest)
	return "kind: policy\n" + string(out), err
}

// blockStyle writes a node over lines.
func blockStyle(n *yaml.Node) {
	n.Style = 0
	for _, child := range n.Content {
		blockStyle(child)
	}
}
