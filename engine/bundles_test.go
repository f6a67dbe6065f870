package engine_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/internal/testenv"
)

// bundled returns an engine with version 1 of model late, and the version's bundle.
func bundled(t *testing.T) (*testenv.Env, []byte) {
	t.Helper()
	env := testenv.New(t)
	run := startRun(t, env)
	putArtifact(t, env, run, "model/MLmodel", "flavors")
	putArtifact(t, env, run, "model/data/weights.bin", strings.Repeat("w", 3<<20))
	if _, err := env.Engine.Registry().RegisterModel(driftline.ModelSpec{Model: "late", Source: "runs:/e-1/model", Tags: map[string]string{"a": "b"}}); err != nil {
		t.Fatal(err)
	}
	_, write, err := env.Engine.ExportModel(context.Background(), "late", "1")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := write(&out); err != nil {
		t.Fatal(err)
	}
	return env, out.Bytes()
}

func importBundle(env *testenv.Env, trusted string, content []byte) (*driftline.ModelVersion, error) {
	return env.Engine.ImportModel(context.Background(), "", trusted, "ada", bytes.NewReader(content))
}

func TestABundleCarriesAVersion(t *testing.T) {
	env, content := bundled(t)
	key, err := env.Engine.SigningKey()
	if err != nil || !strings.HasPrefix(key, "ed25519:") {
		t.Fatal(key, err)
	}
	other := testenv.New(t)
	if _, err := importBundle(other, "", content); driftline.CodeOf(err) != driftline.Permission || !strings.Contains(err.Error(), key) {
		t.Errorf("a stranger's bundle: %v", err)
	}
	for range 2 {
		v, err := importBundle(other, key, content)
		if err != nil {
			t.Fatal(err)
		}
		if v.Imported == nil || v.Imported.Ref != driftline.ModelRef("late", 1) || v.Imported.Key != key || v.By != "ada" || v.Tags["a"] != "b" || v.Run != "" || v.ExternalRun != "e-1" {
			t.Errorf("imported as %+v", v)
		}
		if got := readArtifact(t, other, v.Ref(), "data/weights.bin"); got != strings.Repeat("w", 3<<20) {
			t.Errorf("%d bytes came along", len(got))
		}
	}
	if v, err := importBundle(env, "", content); err != nil || v.Version != 2 {
		t.Errorf("a server's own bundle: %+v, %v", v, err)
	}
	if n := contents(t, other); n != 2 {
		t.Errorf("%d contents, want 2", n)
	}
}

// member is one member of a tar.
type member struct {
	tar.Header
	content []byte
}

func unpack(t *testing.T, content []byte) []member {
	t.Helper()
	var members []member
	in := tar.NewReader(bytes.NewReader(content))
	for {
		header, err := in.Next()
		if err == io.EOF {
			return members
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		members = append(members, member{*header, body})
	}
}

func pack(t *testing.T, members []member) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, m := range members {
		m.Size = int64(len(m.content))
		if m.Typeflag != tar.TypeReg {
			m.Size = 0
		}
		m.PAXRecords, m.Format = nil, tar.FormatUnknown
		if err := w.WriteHeader(&m.Header); err != nil {
			t.Fatal(err)
		}
		if m.Size > 0 {
			if _, err := w.Write(m.content); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// CVE-2025-15031, #18964 and their kin: no member of an archive leads anywhere, and nothing is
// registered of an archive that is not what was signed.
func TestBundlesThatAreNoneAreRefused(t *testing.T) {
	env, content := bundled(t)
	plain := func(name, content string) member {
		return member{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644}, []byte(content)}
	}
	link := func(kind byte, name, to string) member {
		return member{tar.Header{Typeflag: kind, Name: name, Linkname: to, Mode: 0o777}, nil}
	}
	manifest := func(members []member, change func(map[string]any)) []member {
		var body map[string]any
		if err := json.Unmarshal(members[0].content, &body); err != nil {
			t.Fatal(err)
		}
		change(body)
		members[0].content, _ = json.Marshal(body)
		return members
	}
	for name, change := range map[string]func([]member) []member{
		"empty":        func([]member) []member { return nil },
		"no signature": func(m []member) []member { return append(m[:1:1], m[2:]...) },
		"another manifest": func(m []member) []member {
			return manifest(m, func(b map[string]any) { b["exported"] = "2020-01-01T00:00:00Z" })
		},
		"a path that climbs": func(m []member) []member {
			return manifest(m, func(b map[string]any) {
				b["version"].(map[string]any)["files"].([]any)[0].(map[string]any)["path"] = "../../planted"
			})
		},
		"a member that climbs":  func(m []member) []member { return append(m, plain("../../../planted", "x")) },
		"an absolute member":    func(m []member) []member { m[2].Name = "/tmp/planted"; return m },
		"a file's place climbs": func(m []member) []member { m[2].Name = "files/../../planted"; return m },
		"a symlink": func(m []member) []member {
			return append(m[:2:2], link(tar.TypeSymlink, "files/MLmodel", "/etc/passwd"))
		},
		"a hard link": func(m []member) []member { return append(m[:2:2], link(tar.TypeLink, "files/MLmodel", "/etc/passwd")) },
		"a device":    func(m []member) []member { return append(m[:2:2], link(tar.TypeChar, "files/MLmodel", "")) },
		"a folder":    func(m []member) []member { return append(m[:2:2], link(tar.TypeDir, "files/", "")) },
		"a link before all": func(m []member) []member {
			return append([]member{link(tar.TypeSymlink, "bundle.json", "/etc/passwd")}, m...)
		},
		"a file too many":         func(m []member) []member { return append(m, plain("files/more", "x")) },
		"a file too few":          func(m []member) []member { return m[:3] },
		"another content":         func(m []member) []member { m[2].content = []byte("FLAVORS"); return m },
		"a longer content":        func(m []member) []member { m[2].content = bytes.Repeat([]byte("x"), 10<<20); return m },
		"files in another order":  func(m []member) []member { m[2], m[3] = m[3], m[2]; return m },
		"a manifest of megabytes": func(m []member) []member { m[0].content = bytes.Repeat([]byte(" "), 65<<20); return m },
		"a signature of kilobytes": func(m []member) []member {
			m[1].content = bytes.Repeat([]byte(" "), 5<<10)
			return m
		},
		"no key":      func(m []member) []member { m[1].content = []byte(`{"key": "rsa:x", "signature": ""}`); return m },
		"a short key": func(m []member) []member { m[1].content = []byte(`{"key": "ed25519:AAAA", "signature": ""}`); return m },
	} {
		t.Run(name, func(t *testing.T) {
			before := env.Engine.Registry().Newest()
			_, err := importBundle(env, "", pack(t, change(unpack(t, content))))
			if driftline.CodeOf(err) != driftline.Invalid || !strings.Contains(err.Error(), "bundle") {
				t.Errorf("error is %v", err)
			}
			if env.Engine.Registry().Newest() != before {
				t.Error("it wrote a line")
			}
		})
	}
	for name, raw := range map[string][]byte{"no tar": []byte("PK\x03\x04 this is a zip"), "half of it": content[:len(content)/2], "zeros": make([]byte, 1<<20)} {
		if _, err := importBundle(env, "", raw); driftline.CodeOf(err) != driftline.Invalid {
			t.Errorf("%s: error is %v", name, err)
		}
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(env.Dir), "planted")); err == nil {
		t.Error("a file was written outside")
	}
	// Every byte of the manifest is signed.
	for _, at := range []int{0, 1, 100, 200} {
		members := unpack(t, content)
		members[0].content[at] ^= 0x20
		if _, err := importBundle(env, "", pack(t, members)); driftline.CodeOf(err) != driftline.Invalid {
			t.Errorf("byte %d changed: error is %v", at, err)
		}
	}
}

func TestWhatCannotBeExported(t *testing.T) {
	env, _ := bundled(t)
	reg := env.Engine.Registry()
	if _, err := reg.RegisterModel(driftline.ModelSpec{Model: "far", Source: "s3://bucket/x"}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := env.Engine.ExportModel(context.Background(), "far", "1"); driftline.CodeOf(err) != driftline.FailedPrecondition {
		t.Errorf("files elsewhere: %v", err)
	}
	if _, _, err := env.Engine.ExportModel(context.Background(), "nobody", "1"); driftline.CodeOf(err) != driftline.NotFound {
		t.Errorf("no model: %v", err)
	}
	v, err := reg.ModelVersion("late", "1")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(env.Dir, "artifacts", v.Files[0].SHA256)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := env.Engine.ExportModel(context.Background(), "late", "1"); driftline.CodeOf(err) != driftline.DataLoss {
		t.Errorf("a missing content: %v", err)
	}
}
