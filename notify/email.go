package notify

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"net/smtp"
	"net/textproto"
	"strings"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/internal/outbound"
)

// email sends plain text by SMTP.
type email struct {
	config   Config
	host     string
	implicit bool // TLS from the start
	dialer   *net.Dialer
	from     *mail.Address
	to       []*mail.Address
}

func newEmail(c Config) (*email, error) {
	host, port, err := net.SplitHostPort(c.Server)
	if err != nil || host == "" {
		return nil, driftline.Errorf(driftline.Invalid, "server %q is not host:port", c.Server).WithHint("write it like smtp.example.com:587")
	}
	e := &email{config: c, host: host, implicit: port == "465", dialer: outbound.Dialer(c.AllowPrivate)}
	if e.from, err = mail.ParseAddress(c.From); err != nil {
		return nil, driftline.Errorf(driftline.Invalid, "from %q is not an address", c.From)
	}
	for _, to := range c.To {
		parsed, err := mail.ParseAddress(to)
		if err != nil {
			return nil, driftline.Errorf(driftline.Invalid, "to %q is not an address", to)
		}
		e.to = append(e.to, parsed)
	}
	if len(e.to) == 0 {
		return nil, driftline.Errorf(driftline.Invalid, "to is missing")
	}
	return e, nil
}

func (e *email) deliver(ctx context.Context, n *driftline.Notice) error {
	conn, err := e.dialer.DialContext(ctx, "tcp", e.config.Server)
	if err != nil {
		return unreachable(err)
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline) // TCP connections have them
	}
	if e.implicit {
		conn = tls.Client(conn, e.tls())
	}
	c, err := smtp.NewClient(conn, e.host)
	if err != nil {
		return errors.Join(refused("the greeting", err), conn.Close())
	}
	defer c.Close() // after Quit it says that it is closed
	if err := e.begin(c); err != nil {
		return err
	}
	if err := e.send(c, e.message(n)); err != nil {
		return err
	}
	_ = c.Quit() // the message is accepted
	return nil
}

func (e *email) tls() *tls.Config {
	return &tls.Config{ServerName: e.host, MinVersion: tls.VersionTLS12}
}

func (e *email) begin(c *smtp.Client) error {
	if offered, _ := c.Extension("STARTTLS"); offered && !e.implicit {
		if err := c.StartTLS(e.tls()); err != nil {
			return refused("STARTTLS", err)
		}
	}
	if e.config.Username == "" {
		return nil
	}
	// PlainAuth refuses to send the password in the clear.
	if err := c.Auth(smtp.PlainAuth("", e.config.Username, e.config.Password, e.host)); err != nil {
		return refused("the login", err)
	}
	return nil
}

func (e *email) send(c *smtp.Client, message []byte) error {
	if err := c.Mail(e.from.Address); err != nil {
		return refused("the sender", err)
	}
	for _, to := range e.to {
		if err := c.Rcpt(to.Address); err != nil {
			return refused("a recipient", err)
		}
	}
	w, err := c.Data()
	if err != nil {
		return refused("the message", err)
	}
	_, err = w.Write(message)
	if err = errors.Join(err, w.Close()); err != nil {
		return refused("the message", err)
	}
	return nil
}

// refused keeps the code of an answer of the server and not its text, which may repeat what
// it was sent.
func refused(what string, err error) error {
	var answer *textproto.Error
	if errors.As(err, &answer) {
		return driftline.Errorf(driftline.Unavailable, "the mail server refuses %s (%d)", what, answer.Code)
	}
	return driftline.Errorf(driftline.Unavailable, "the mail server cannot be talked to: %s failed", what)
}

func (e *email) message(n *driftline.Notice) []byte {
	var b bytes.Buffer
	to := make([]string, len(e.to))
	for i, address := range e.to {
		to[i] = address.String()
	}
	_, domain, _ := strings.Cut(e.from.Address, "@")
	for _, h := range [][2]string{
		{"From", e.from.String()}, {"To", strings.Join(to, ", ")},
		{"Subject", mime.QEncoding.Encode("utf-8", "[driftline] "+oneLine(title(n)))},
		{"Date", n.Created.UTC().Format("Mon, 02 Jan 2006 15:04:05 -0700")},
		{"Message-ID", fmt.Sprintf("<%s@%s>", n.ID, domain)},
		{"MIME-Version", "1.0"}, {"Content-Type", "text/plain; charset=utf-8"}, {"Content-Transfer-Encoding", "quoted-printable"},
		{"Auto-Submitted", "auto-generated"},
	} {
		fmt.Fprintf(&b, "%s: %s\r\n", h[0], h[1])
	}
	b.WriteString("\r\n")
	body := quotedprintable.NewWriter(&b)
	_, _ = body.Write([]byte(strings.Join(lines(n), "\r\n") + "\r\n")) // into memory
	_ = body.Close()
	return b.Bytes()
}
