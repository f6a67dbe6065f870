package main

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"os"
	"regexp"
	"strings"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/notify"
	"go.yaml.in/yaml/v3"
)

var environmentName = regexp.MustCompile(`^\$\{([A-Za-z_][A-Za-z0-9_]*)\}$`)

// readChannels opens the channels of the settings' file; without one there is the log. A
// value ${NAME} is that of an environment variable, so that the file holds no secret. checks
// are the channels that hear of differences between the stores.
func readChannels(path string, environ []string, log *slog.Logger) (channels *notify.Channels, checks []string, err error) {
	if path == "" {
		channels, err = notify.Open(nil, log)
		return channels, nil, err
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, cannotRead(path, err)
	}
	var file struct {
		Channels map[string]notify.Config `yaml:"channels"`
		Checks   []string                 `yaml:"checks"`
	}
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	decoder.KnownFields(true)
	if err := decoder.Decode(&file); err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, driftline.Errorf(driftline.Invalid, "channels file %s cannot be read: %v", path, err)
	}
	for name, c := range file.Channels {
		for _, value := range []*string{&c.URL, &c.Secret, &c.Username, &c.Password} {
			if *value, err = fromEnvironment(*value, environ); err != nil {
				return nil, nil, driftline.Errorf(driftline.Invalid, "channels file %s: channel %q: %w", path, name, err)
			}
		}
		file.Channels[name] = c
	}
	if channels, err = notify.Open(file.Channels, log); err != nil {
		return nil, nil, err
	}
	for _, name := range file.Checks {
		if err := channels.Check(name); err != nil {
			return nil, nil, driftline.Errorf(driftline.CodeOf(err), "channels file %s: checks: %w", path, err)
		}
	}
	return channels, file.Checks, nil
}

func fromEnvironment(value string, environ []string) (string, error) {
	named := environmentName.FindStringSubmatch(value)
	if named == nil {
		return value, nil
	}
	for _, variable := range environ {
		if found, ok := strings.CutPrefix(variable, named[1]+"="); ok {
			return found, nil
		}
	}
	return "", driftline.Errorf(driftline.Invalid, "the environment has no %s", named[1])
}
