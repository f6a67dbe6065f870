# Driftline. `make demo` and `make test` set up everything they need.
#
#   make demo     the main job on real flights, then says what to open
#   make run      a server over the demo's data folder
#   make run-loop one over that of its second half, in which a model lived from April to August 2013
#   make test     all tests, Go and Python
#   make lint     gofmt, vet, staticcheck, govulncheck, actionlint, ruff, the import test
#   make bench SUITE=pit|online|ingest|flight|sql|tracking|drift|drift-concept|rollout|profile

SHELL := /bin/bash
.DEFAULT_GOAL := help

# duckdb-go hides its Arrow interface behind a build tag.
TAGS := duckdb_arrow
export GOFLAGS := $(GOFLAGS) -tags=$(TAGS)
export PYTHONDONTWRITEBYTECODE := 1

PYTHON ?= python3.11
VENV   := .venv
PY     := $(VENV)/bin/python
BIN    := bin/driftline
# Two tests processes at once: each links DuckDB and may hold 1 GiB.
GO_PARALLEL ?= 2

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
ACTIONLINT  := github.com/rhysd/actionlint/cmd/actionlint@v1.7.12
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0

.PHONY: help
help:
	@sed -n 's/^#   //p' Makefile

# --- what must be on the machine ------------------------------------------------

# Debian packages: a C compiler for cgo, Python 3.11 with venv, and a browser for
# the UI's tests. Each is looked for by the command that it brings.
.PHONY: deps
deps:
	@./scripts/deps

$(VENV)/.stamp: client/python/requirements.lock client/python/pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --require-hashes -r client/python/requirements.lock
	$(PY) -m pip install --quiet --no-deps --no-build-isolation -e client/python
	@touch $@

.PHONY: venv
venv: deps
	@$(MAKE) --no-print-directory $(VENV)/.stamp

# The Feast client as it is published, in both generations of its protocol, for the
# tests that it reads and writes through Driftline unchanged.
.venv-%/.stamp: client/feast/%.lock
	$(PYTHON) -m venv .venv-$*
	.venv-$*/bin/python -m pip install --quiet --require-hashes -r $<
	@touch $@

.PHONY: feast
feast: deps
	@$(MAKE) --no-print-directory .venv-feast/.stamp .venv-feast-063/.stamp

# MLflow's package as it is published, newest 3 and newest 2, for the tests that it tracks
# through Driftline unchanged; the first is a peer of `make bench SUITE=tracking` too.
.venv-%/.stamp: client/mlflow/%.lock
	$(PYTHON) -m venv .venv-$*
	.venv-$*/bin/python -m pip install --quiet --require-hashes --no-deps -r $<
	@touch $@

.PHONY: mlflow
mlflow: deps
	@$(MAKE) --no-print-directory .venv-mlflow/.stamp .venv-mlflow-2/.stamp

# Evidently and NannyML, for the tests that the presets named after them decide alike. The lock
# is complete; pip's resolver stumbles over packages that are asked for with and without extras.
.venv-%/.stamp: client/parity/%.lock
	$(PYTHON) -m venv .venv-$*
	.venv-$*/bin/python -m pip install --quiet --require-hashes --no-deps -r $<
	@touch $@

.PHONY: drift-peers
drift-peers: deps
	@$(MAKE) --no-print-directory .venv-drift-peers/.stamp

# Airflow as it is published, for one check that is not part of the tests: it is large, and wants a database.
.venv-airflow/.stamp: bench/airflow/airflow.lock
	$(PYTHON) -m venv .venv-airflow
	.venv-airflow/bin/python -m pip install --quiet --require-hashes --no-deps -r $<
	@touch $@

.PHONY: airflow-check
airflow-check: build .venv-airflow/.stamp
	.venv-airflow/bin/python bench/airflow/check.py $(BIN)

# The JDBC driver, for one test; without a JDK and Maven there is nothing to test with it.
JDBC_VERSION := 18.3.0
JDBC_SHA256  := 3f418b46c880e263558c5de669bdbede2c5d4375527ced116fb29f795b03704c
JDBC_JAR     := flight-sql-jdbc-driver-$(JDBC_VERSION).jar
MAVEN_COPY   := org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy

build/jdbc/$(JDBC_JAR):
	@rm -rf build/jdbc.part
	mvn -q -B $(MAVEN_COPY) -DoutputDirectory=$(CURDIR)/build/jdbc.part \
		-Dartifact=org.apache.arrow:flight-sql-jdbc-driver:$(JDBC_VERSION)
	echo "$(JDBC_SHA256)  build/jdbc.part/$(JDBC_JAR)" | sha256sum --check --quiet
	@mkdir -p build/jdbc
	@mv build/jdbc.part/$(JDBC_JAR) $@
	@rmdir build/jdbc.part

.PHONY: jdbc
jdbc:
	@! command -v javac >/dev/null || ! command -v mvn >/dev/null || $(MAKE) --no-print-directory build/jdbc/$(JDBC_JAR)

# --- build ----------------------------------------------------------------------

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

.PHONY: build
build: deps
	@mkdir -p bin
	go build -ldflags "-X main.version=$(VERSION)" -o $(BIN) ./cmd/driftline

# --- the two commands -----------------------------------------------------------

.PHONY: demo
demo: build venv
	$(PY) examples/flights/demo.py --bin $(BIN) --out build/demo

.PHONY: test
test: build venv feast mlflow drift-peers jdbc
	@mkdir -p build && rm -f build/test-summary.txt
	DRIFTLINE_BIN=$(CURDIR)/$(BIN) ./scripts/test

.PHONY: run
run: build
	$(BIN) serve --data build/demo/data

.PHONY: run-loop
run-loop: build
	$(BIN) serve --data build/demo/loop/data --replay 2013-09-01T00:00:00Z

# --- checks ---------------------------------------------------------------------

.PHONY: lint
lint: deps venv
	@test -z "$$(gofmt -l .)" || { echo "gofmt: run gofmt -w on:"; gofmt -l .; exit 1; }
	go vet ./...
	go test -count=1 .
	go run $(STATICCHECK) ./...
	@./scripts/vulncheck $(GOVULNCHECK)
	go run $(ACTIONLINT) -no-color examples/ci/*.yml
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

.PHONY: race
race: deps
	go test -race -p 1 ./...

# --- benchmarks -----------------------------------------------------------------

.PHONY: bench-peers
bench-peers: deps
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --require-hashes --no-deps -r bench/peers/requirements.lock
	$(PYTHON) -m venv .venv-whylogs
	.venv-whylogs/bin/python -m pip install --quiet --require-hashes --no-deps -r bench/peers/whylogs.lock

.PHONY: bench
bench: build venv
	go run ./bench $(SUITE)

.PHONY: clean
clean:
	rm -rf bin build $(VENV) .venv-peers .venv-whylogs .venv-feast .venv-feast-063 .venv-mlflow .venv-mlflow-2 .venv-drift-peers .venv-airflow
