"""Predictions by way of the gateway, of a model server that adds the numbers of each row."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pandas as pd
import pytest
from driftline import (
    FailedPreconditionError,
    FeatureStore,
    InvalidError,
    NotFoundError,
    UnavailableError,
)


class Adder(BaseHTTPRequestHandler):
    """Answers MLflow's protocol with the sum of each row, and refuses rows without numbers."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        rows = asked["dataframe_split"]["data"]
        numbers = [[x for x in row if isinstance(x, (int, float))] for row in rows]
        status, body = 200, {"predictions": [sum(row) for row in numbers]}
        if not all(numbers):
            status, body = 400, {"error_code": "BAD_REQUEST", "message": "a row has no number"}
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        """Says nothing: what is asked is no news."""


@pytest.fixture
def adder() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Adder)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_model_is_asked(store: FeatureStore, adder: str):
    with pytest.raises(NotFoundError, match='"added" does not exist'):
        store.predict("added", [{"x": 1}])
    store.register_model("added", source="s3://models/added")
    store.set_alias("added", 1, "champion")
    with pytest.raises((FailedPreconditionError, UnavailableError), match="serve-at"):
        store.predict("added", [{"x": 1}])
    store.serve_model_at("added", 1, adder, protocol="mlflow")

    answer = store.predict("added", [{"x": 1, "y": 2.5}, {"x": 2, "y": None}], "user-42")
    assert answer.predictions == [3.5, 2]
    assert (answer.version, answer.arm, answer.fallback_fault) == (1, "champion", "")
    assert answer.id
    frame = pd.DataFrame({"x": [1.0, float("nan")], "y": [1, 2]})
    assert store.predict("added", frame, version="champion").predictions == [2, 2]
    assert store.predict("added", {"x": [4]}, id="p-1").id == "p-1"

    with pytest.raises(InvalidError, match="a row has no number"):
        store.predict("added", [{"x": "four"}])
    with pytest.raises(NotFoundError):
        store.predict("added", [{"x": 4}], version=9)
    with pytest.raises(ValueError, match="the list of rows is empty"):
        store.predict("added", [])


def test_a_model_whose_server_is_away(store: FeatureStore):
    store.register_model("gone", source="s3://models/gone")
    store.set_alias("gone", 1, "champion")
    store.serve_model_at("gone", 1, "http://127.0.0.1:1", protocol="mlflow")
    with pytest.raises(UnavailableError, match="cannot be reached"):
        store.predict("gone", [{"x": 1}])
