package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/client"
	"github.com/driftline/driftline/engine"
	"github.com/driftline/driftline/internal/replay"
	"github.com/driftline/driftline/openlineage"
	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/providers/posflag"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"
)

// settings are what can be set by flag, environment or file. A key is the flag's
// name; in the environment it is DRIFTLINE_ and the name in capitals, - as _.
type settings struct {
	Server string `koanf:"server"`

	Data         string   `koanf:"data"`
	HTTP         string   `koanf:"http"`
	Flight       string   `koanf:"flight"`
	Insecure     bool     `koanf:"insecure"`
	AllowSource  []string `koanf:"allow-source"`
	LogFormat    string   `koanf:"log-format"`
	LogLevel     string   `koanf:"log-level"`
	OTelEndpoint string   `koanf:"otel-endpoint"`
	Channels     string   `koanf:"channels"`
	Restored     bool     `koanf:"restored"`
	Replay       string   `koanf:"replay"`

	ModelNetworks []string `koanf:"model-networks"`

	AllowCommands bool   `koanf:"allow-commands"`
	Training      string `koanf:"training"`

	OpenLineage          string `koanf:"openlineage"`
	OpenLineageNamespace string `koanf:"openlineage-namespace"`
	OpenLineageAPIKey    string `koanf:"openlineage-api-key"` // a secret: from the environment only

	KeepSnapshots int           `koanf:"keep-snapshots"`
	KeepAge       time.Duration `koanf:"keep-age"`

	CompactionBandwidth int64 `koanf:"compaction-bandwidth"` // MiB a second

	SQLWorkers int           `koanf:"sql-workers"`
	SQLMemory  int64         `koanf:"sql-memory"` // MiB
	SQLTimeout time.Duration `koanf:"sql-timeout"`
}

const (
	settingsFile = "driftline.yaml"
	envPrefix    = "DRIFTLINE_"
)

func addClientSettings(flags *pflag.FlagSet) {
	flags.String("server", client.DefaultURL, "address of the server's HTTP API")
	flags.String("config", "", "settings file (default "+settingsFile+" if there is one)")
}

func addServerSettings(flags *pflag.FlagSet) {
	flags.String("data", "./.driftline", "data folder")
	flags.String("http", "127.0.0.1:8816", "address for HTTP")
	flags.String("flight", "127.0.0.1:8815", "address for Arrow Flight and Flight SQL")
	flags.Bool("insecure", false, "allow addresses that other machines can reach, without TLS or token")
	flags.StringSlice("allow-source", nil, "folder that views may read Parquet files and Iceberg tables from (again for another)")
	flags.String("log-format", "text", "text or json")
	flags.String("log-level", "info", "debug, info, warn or error")
	flags.Int("keep-snapshots", engine.DefaultRetention.Last, "how many of the newest snapshots of a table to keep")
	flags.Duration("keep-age", time.Duration(engine.DefaultRetention.MaxAge), "age up to which to keep snapshots beyond those; tagged ones, and those that something was made from, stay")
	flags.Int64("compaction-bandwidth", engine.DefaultCompactionBandwidth>>20, "MiB a second that merging files in the background may read and write; 0 for as many as it can")
	flags.Int("sql-workers", 4, "how many SELECTs run at a time, each in a process of its own")
	flags.Int64("sql-memory", 1024, "MiB of memory that one SELECT may use")
	flags.Duration("sql-timeout", time.Minute, "time after which a SELECT is ended")
	flags.StringSlice("model-networks", nil, "private network that model servers may be in, such as 10.0.0.0/8 (again for another); this machine and public addresses always may")
	flags.String("channels", "", "file that says where monitors, policies, rollouts and checks send their notices")
	flags.Bool("restored", false, "the data folder comes from a backup: rollouts that were under way are paused until somebody resumes them")
	flags.Bool("allow-commands", false, "let policies train with commands of this machine: whoever may apply one can then do what this user can")
	flags.String("training", "", "file of secrets and addresses for training jobs")
	flags.String("replay", "", "go through the past: the time at which the server's clock stands until driftline clock moves it")
	flags.String("openlineage", "", "where OpenLineage events are sent: http://host:port, or file:PATH; a key is read from "+envPrefix+"OPENLINEAGE_API_KEY")
	flags.String("openlineage-namespace", openlineage.Namespace, "namespace of this server's jobs and tables in them")
	flags.String("otel-endpoint", "", "host:port of an OTLP collector (gRPC) to send traces to")
}

// settingKeys are the keys that a settings file may have.
var settingKeys = func() []string {
	all := pflag.NewFlagSet("", pflag.ContinueOnError)
	addClientSettings(all)
	addServerSettings(all)
	var keys []string
	all.VisitAll(func(f *pflag.Flag) {
		if f.Name != "config" {
			keys = append(keys, f.Name)
		}
	})
	return keys
}()

// loadSettings merges the four sources. flags are those of the command that runs.
func loadSettings(flags *pflag.FlagSet, environ []string) (settings, error) {
	k := koanf.New(".")
	if err := loadFile(k, flags); err != nil {
		return settings{}, err
	}
	fromEnv := env.Provider(".", env.Opt{
		Prefix:      envPrefix,
		EnvironFunc: func() []string { return environ },
		TransformFunc: func(key, value string) (string, any) {
			return strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(key, envPrefix)), "_", "-"), value
		},
	})
	if err := k.Load(fromEnv, nil); err != nil {
		return settings{}, driftline.Errorf(driftline.Invalid, "the environment cannot be read: %w", err)
	}
	// Only flags that were given, or that nothing else sets, take part.
	if err := k.Load(posflag.Provider(onlySettings(flags), ".", k), nil); err != nil {
		return settings{}, usageError{err}
	}
	var loaded settings
	if err := k.Unmarshal("", &loaded); err != nil {
		return settings{}, usagef("the settings are not valid: %v", err)
	}
	return loaded, loaded.check(k)
}

func loadFile(k *koanf.Koanf, flags *pflag.FlagSet) error {
	path, _ := flags.GetString("config") // every command has it
	chosen := path != ""
	if !chosen {
		path = settingsFile
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) && !chosen {
		return nil
	}
	if err := k.Load(file.Provider(path), yaml.Parser()); err != nil {
		return driftline.Errorf(driftline.Invalid, "settings file %s cannot be read: %v", path, err)
	}
	for _, key := range k.Keys() {
		if !slices.Contains(settingKeys, key) {
			return driftline.Unknown("setting", key, settingKeys).WithHint("%s: %s", path, hintFor(key))
		}
	}
	return nil
}

func hintFor(key string) string {
	if near := driftline.Nearest(key, settingKeys); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	return "known: " + strings.Join(settingKeys, ", ")
}

func onlySettings(flags *pflag.FlagSet) *pflag.FlagSet {
	chosen := pflag.NewFlagSet("settings", pflag.ContinueOnError)
	flags.VisitAll(func(f *pflag.Flag) {
		if slices.Contains(settingKeys, f.Name) {
			chosen.AddFlag(f)
		}
	})
	return chosen
}

func (s *settings) level() (level slog.Level, err error) {
	err = level.UnmarshalText([]byte(s.LogLevel))
	return level, err
}

// replayClock returns the clock of a server that goes through the past, nil of any other.
func (s *settings) replayClock() (*replay.Clock, error) {
	if s.Replay == "" {
		return nil, nil
	}
	now, ok := parseTime(s.Replay)
	if !ok {
		return nil, usagef("replay is %q, which is no time; write 2013-04-01T00:00:00Z", s.Replay)
	}
	return replay.At(now), nil
}

func (s *settings) check(k *koanf.Koanf) error {
	if !k.Exists("log-format") {
		return nil // not the server
	}
	if s.LogFormat != "text" && s.LogFormat != "json" {
		return usagef("log-format is %q, want text or json", s.LogFormat)
	}
	if _, err := s.level(); err != nil {
		return usagef("log-level is %q, want debug, info, warn or error", s.LogLevel)
	}
	if _, err := s.replayClock(); err != nil {
		return err
	}
	if s.KeepSnapshots < 1 || s.KeepAge < 0 {
		return usagef("keep-snapshots is %d, keep-age %s; want at least 1, and not less than 0", s.KeepSnapshots, s.KeepAge)
	}
	if s.CompactionBandwidth < 0 {
		return usagef("compaction-bandwidth is %d, want MiB a second, or 0 for no bound", s.CompactionBandwidth)
	}
	if s.SQLWorkers < 1 || s.SQLMemory < 64 || s.SQLTimeout <= 0 {
		return usagef("sql-workers is %d, sql-memory %d, sql-timeout %s; want at least 1, 64 MiB, and more than 0", s.SQLWorkers, s.SQLMemory, s.SQLTimeout)
	}
	return nil
}

// compactionBandwidth is as [engine.Options] has it, where 0 stands for the default.
func (s *settings) compactionBandwidth() int64 {
	if s.CompactionBandwidth == 0 {
		return -1
	}
	return s.CompactionBandwidth << 20
}

// modelNetworks are the private networks that the gateway may reach.
func (s *settings) modelNetworks() ([]netip.Prefix, error) {
	networks := make([]netip.Prefix, len(s.ModelNetworks))
	for i, text := range s.ModelNetworks {
		network, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, usagef("model-networks: %q is no network: write 10.0.0.0/8, or 10.1.2.3/32 for one address", text)
		}
		networks[i] = network.Masked()
	}
	return networks, nil
}
