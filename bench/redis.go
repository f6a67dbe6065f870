package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/driftline/driftline"
)

// compareRedis measures pushes into a Redis that syncs its log before it answers
// (appendonly, appendfsync always): like ours a server behind a socket, whose
// concurrent writers share a sync. Each row is one HSET.
func (b *bench) compareRedis(ctx context.Context, w workload, ours side, writers int, rows []arrow.RecordBatch) (err error) {
	const name = "Redis, appendfsync=always"
	if _, err := exec.LookPath("redis-server"); err != nil {
		b.skip(w, name, "redis-server is not installed (apt-get install redis-server)")
		return nil
	}
	r, err := b.startRedis(ctx, writers)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.stop()) }()
	return b.compare(ctx, w, ours, side{name: name, run: func(ctx context.Context, check bool) (measured, error) {
		return r.pushAll(ctx, rows, check)
	}})
}

// redis is a running server and one connection per writer.
type redis struct {
	process     *exec.Cmd
	connections chan *redisConnection // those that no writer has
	all         []*redisConnection
}

func (b *bench) startRedis(ctx context.Context, writers int) (*redis, error) {
	folder, err := os.MkdirTemp(b.dir, "redis-")
	if err != nil {
		return nil, err
	}
	socket := filepath.Join(folder, "redis.sock")
	r := &redis{connections: make(chan *redisConnection, writers)}
	r.process = command(ctx, "redis-server", "--port", "0", "--unixsocket", socket, "--dir", folder,
		"--appendonly", "yes", "--appendfsync", "always", "--save", "", "--daemonize", "no")
	if err := r.process.Start(); err != nil {
		return nil, err
	}
	for range writers {
		c, err := dialRedis(ctx, "unix", socket)
		if err != nil {
			return nil, errors.Join(err, r.stop())
		}
		r.all = append(r.all, c)
		r.connections <- c
	}
	info, err := r.all[0].command("INFO", "server")
	if err != nil {
		return nil, errors.Join(err, r.stop())
	}
	_, version, _ := strings.Cut(info[0], "redis_version:")
	b.machine.Peers["redis"], _, _ = strings.Cut(version, "\r")
	return r, nil
}

// pushAll writes into an empty Redis. A checked run reads the rows back.
func (r *redis) pushAll(ctx context.Context, rows []arrow.RecordBatch, check bool) (measured, error) {
	if _, err := r.all[0].command("FLUSHALL"); err != nil {
		return measured{}, err
	}
	result, err := pushAll(ctx, len(r.all), rows, func(_ context.Context, row arrow.RecordBatch) error {
		c := <-r.connections
		defer func() { r.connections <- c }()
		_, err := c.command(hashSet(row)...)
		return err
	})
	m := measured{value: result.rate()}
	if err != nil || !check {
		return m, err
	}
	m.answer, err = r.readBack(rows[0].Schema(), len(rows))
	return m, err
}

// hashSet is the command that stores a row under its entity.
func hashSet(row arrow.RecordBatch) []string {
	words := []string{"HSET", row.Column(0).ValueStr(0)}
	for i, column := range row.Columns() {
		text := ""
		switch c := column.(type) {
		case *array.Float64:
			text = strconv.FormatFloat(c.Value(0), 'g', -1, 64)
		case *array.Timestamp:
			text = strconv.FormatInt(int64(c.Value(0)), 10)
		case *array.Int64:
			text = strconv.FormatInt(c.Value(0), 10)
		}
		words = append(words, row.ColumnName(i), text)
	}
	return words
}

// readBack sums up the rows of entities 0 to rows-1.
func (r *redis) readBack(schema *arrow.Schema, rows int) (answer, error) {
	builder := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer builder.Release()
	fetch := []string{"HMGET", ""}
	for _, field := range schema.Fields() {
		fetch = append(fetch, field.Name)
	}
	for row := range rows {
		fetch[1] = strconv.Itoa(row)
		values, err := r.all[0].command(fetch...)
		if err != nil {
			return answer{}, err
		}
		for i, value := range values {
			if err := appendText(builder.Field(i), value); err != nil {
				return answer{}, err
			}
		}
	}
	batch := builder.NewRecordBatch()
	defer batch.Release()
	return checksum(driftline.BatchesOf(schema, batch))
}

func appendText(builder array.Builder, text string) error {
	if b, ok := builder.(*array.Float64Builder); ok {
		value, err := strconv.ParseFloat(text, 64)
		b.Append(value)
		return err
	}
	value, err := strconv.ParseInt(text, 10, 64)
	switch b := builder.(type) {
	case *array.TimestampBuilder:
		b.Append(arrow.Timestamp(value))
	case *array.Int64Builder:
		b.Append(value)
	}
	return err
}

func (r *redis) stop() error {
	var errs []error
	for _, c := range r.all {
		errs = append(errs, c.Close())
	}
	killGroup(r.process) // its folder goes too
	_ = r.process.Wait()
	return errors.Join(errs...)
}

// redisConnection speaks RESP, the protocol of Redis, as far as this program needs it.
type redisConnection struct {
	net.Conn
	replies *bufio.Reader
}

// dialRedis waits for a server that has just been started.
func dialRedis(ctx context.Context, network, address string) (*redisConnection, error) {
	var dialer net.Dialer
	deadline := time.Now().Add(stopTime)
	for {
		conn, err := dialer.DialContext(ctx, network, address)
		if err == nil {
			return &redisConnection{conn, bufio.NewReader(conn)}, nil
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			return nil, fmt.Errorf("redis-server does not answer: %w", err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// command sends one command and returns its reply: the elements of an array, or
// the one value.
func (c *redisConnection) command(words ...string) ([]string, error) {
	text := fmt.Appendf(nil, "*%d\r\n", len(words))
	for _, word := range words {
		text = fmt.Appendf(text, "$%d\r\n%s\r\n", len(word), word)
	}
	if _, err := c.Write(text); err != nil {
		return nil, err
	}
	kind, head, err := c.line()
	if err != nil || kind != '*' {
		value, err := c.value(kind, head, err)
		return []string{value}, err
	}
	length, err := strconv.Atoi(head)
	values := make([]string, max(0, length))
	for i := range values {
		if err == nil {
			kind, head, err = c.line()
			values[i], err = c.value(kind, head, err)
		}
	}
	return values, err
}

func (c *redisConnection) line() (kind byte, rest string, err error) {
	line, err := c.replies.ReadString('\n')
	if err != nil || len(line) < 3 {
		return 0, "", errors.Join(err, errors.New("redis-server sent no reply"))
	}
	return line[0], line[1 : len(line)-2], nil
}

func (c *redisConnection) value(kind byte, head string, err error) (string, error) {
	switch {
	case err != nil:
		return "", err
	case kind == '-':
		return "", errors.New("redis-server: " + head)
	case kind != '$' || head == "-1":
		return head, nil
	}
	length, err := strconv.Atoi(head)
	if err != nil {
		return "", err
	}
	text := make([]byte, length+2)
	_, err = io.ReadFull(c.replies, text)
	return string(text[:length]), err
}
