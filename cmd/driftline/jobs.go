package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/executor"
	"go.yaml.in/yaml/v3"
)

// jobsFile is what an operator says of training jobs. A value ${NAME} is that of an environment
// variable, so that the file holds no secret.
type jobsFile struct {
	Commands     bool              `yaml:"commands"`
	Folder       string            `yaml:"folder"`     // where commands begin
	MemoryMiB    int64             `yaml:"memory_mib"` // of each of their processes
	Secrets      map[string]string `yaml:"secrets"`
	AllowPrivate bool              `yaml:"allow_private"`
	PollSeconds  int               `yaml:"poll_seconds"`
	Server       string            `yaml:"server"` // the addresses that jobs are told, if not those that are listened on
	Flight       string            `yaml:"flight"`
	Kubernetes   struct {
		URL   string `yaml:"url"`
		Token string `yaml:"token"`
	} `yaml:"kubernetes"`
}

// jobs is how training jobs are started.
func (s *settings) jobs(environ []string, http, flight string) (executor.Config, error) {
	file := jobsFile{Server: "http://" + http, Flight: "grpc://" + flight}
	if s.Training != "" {
		content, err := os.ReadFile(s.Training)
		if err != nil {
			return executor.Config{}, cannotRead(s.Training, err)
		}
		decoder := yaml.NewDecoder(bytes.NewReader(content))
		decoder.KnownFields(true)
		if err := decoder.Decode(&file); err != nil && !errors.Is(err, io.EOF) {
			return executor.Config{}, driftline.Errorf(driftline.Invalid, "training file %s cannot be read: %v", s.Training, err)
		}
		for name, value := range file.Secrets {
			if file.Secrets[name], err = fromEnvironment(value, environ); err != nil {
				return executor.Config{}, driftline.Errorf(driftline.Invalid, "training file %s: secret %q: %w", s.Training, name, err)
			}
		}
		if file.Kubernetes.Token, err = fromEnvironment(file.Kubernetes.Token, environ); err != nil {
			return executor.Config{}, driftline.Errorf(driftline.Invalid, "training file %s: kubernetes.token: %w", s.Training, err)
		}
	}
	return executor.Config{
		Commands: s.AllowCommands || file.Commands, Folder: file.Folder, Memory: file.MemoryMiB << 20,
		Secrets: file.Secrets, AllowPrivate: file.AllowPrivate, Poll: time.Duration(file.PollSeconds) * time.Second,
		Kubernetes:  executor.Kubernetes{URL: file.Kubernetes.URL, Token: file.Kubernetes.Token},
		Environment: map[string]string{"DRIFTLINE_SERVER": file.Server, "DRIFTLINE_FLIGHT": file.Flight},
	}, nil
}
