package notify

import (
	"context"
	"log/slog"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/internal/outbound"
)

// Config is one channel of the server's settings. Type says which other fields it has.
type Config struct {
	Type string `yaml:"type"`

	URL    string `yaml:"url"`    // webhook, slack: where to post; alertmanager: its address
	Secret string `yaml:"secret"` // webhook: the key that signs; "" signs nothing

	Path string `yaml:"path"` // file

	Server   string   `yaml:"server"` // email: host:port; port 465 speaks TLS from the start
	From     string   `yaml:"from"`
	To       []string `yaml:"to"`
	Username string   `yaml:"username"` // "" does not log in
	Password string   `yaml:"password"`

	// AllowPrivate lets the channel reach addresses of this machine and of private networks.
	AllowPrivate bool `yaml:"allow_private"`
}

// LogChannel is the name of the channel that is always there.
const LogChannel = "log"

// attemptTime bounds one attempt.
const attemptTime = 15 * time.Second

// channel delivers notices of one kind to one place.
type channel interface {
	deliver(ctx context.Context, n *driftline.Notice) error
}

// Channels are the channels of a server, by name. Its methods may be called concurrently.
type Channels struct{ byName map[string]channel }

// Open checks the settings of channels. Nothing is connected to.
func Open(configs map[string]Config, log *slog.Logger) (*Channels, error) {
	c := &Channels{byName: map[string]channel{LogChannel: logger{log}}}
	for _, name := range slices.Sorted(maps.Keys(configs)) {
		if err := driftline.CheckIdentifier("channel", name); err != nil {
			return nil, err
		}
		opened, err := open(configs[name], log)
		if err != nil {
			return nil, driftline.Errorf(driftline.Invalid, "channel %q: %w", name, err)
		}
		c.byName[name] = opened
	}
	return c, nil
}

var types = []string{"log", "file", "webhook", "slack", "alertmanager", "email"}

func open(c Config, log *slog.Logger) (channel, error) {
	switch c.Type {
	case "log":
		return logger{log}, nil
	case "file":
		if c.Path == "" {
			return nil, driftline.Errorf(driftline.Invalid, "path is missing")
		}
		return &file{path: c.Path}, nil
	case "email":
		return newEmail(c)
	case "webhook", "slack", "alertmanager":
		target, err := checkURL(c.URL)
		if err != nil {
			return nil, err
		}
		p := poster{client: outbound.Client(c.AllowPrivate), url: target}
		switch c.Type {
		case "slack":
			return slack{p}, nil
		case "alertmanager":
			p.url = strings.TrimRight(target, "/") + "/api/v2/alerts"
			return alertmanager{p}, nil
		}
		return webhook{p, []byte(c.Secret)}, nil
	}
	return nil, driftline.Unknown("type", c.Type, types)
}

// checkURL says what is wrong with a URL without repeating it.
func checkURL(text string) (string, error) {
	u, err := url.Parse(text)
	switch {
	case text == "":
		return "", driftline.Errorf(driftline.Invalid, "url is missing")
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return "", driftline.Errorf(driftline.Invalid, "url is not valid").WithHint("write it like https://example.com/hook")
	case u.User != nil:
		return "", driftline.Errorf(driftline.Invalid, "url has a user or a password, which would be sent with it").
			WithHint("use a secret to sign, or a token in the path")
	}
	return text, nil
}

// Names returns the names of the channels.
func (c *Channels) Names() []string { return slices.Sorted(maps.Keys(c.byName)) }

// Check reports whether there is a channel of that name.
func (c *Channels) Check(name string) error {
	if _, ok := c.byName[name]; ok {
		return nil
	}
	return driftline.Unknown("channel", name, c.Names())
}

// Deliver makes one attempt to deliver a notice, of some seconds at most. When it returns
// nil the receiver has it.
func (c *Channels) Deliver(ctx context.Context, n *driftline.Notice) error {
	if err := c.Check(n.Channel); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	return c.byName[n.Channel].deliver(ctx, n)
}
