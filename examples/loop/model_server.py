"""Serves the versions of a registered model by the Open Inference Protocol, version 2.

    python examples/loop/model_server.py --model late_departure --port 9001

Version 2 of it is called late_departure-2. Any server of that protocol would do. This one reads
a version's file from the registry when it is first asked for, and keeps it. It does not know who
is champion: which version answers which request is the gateway's to say.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import driftline
import joblib
import pandas as pd

INFER = re.compile(r"/v2/models/(?P<model>[^/]+)-(?P<version>\d+)/infer")
READY = re.compile(r"/v2/models/(?P<model>[^/]+)-(?P<version>\d+)/ready")


class Versions:
    """The loaded versions of a model; safe for use by several threads."""

    def __init__(self, model: str):
        self.model = model
        self.loaded: dict[int, object] = {}
        self.lock = threading.Lock()

    def __getitem__(self, version: int):
        with self.lock:
            if version not in self.loaded:
                with driftline.connect() as store:
                    registered = store.model_version(self.model, version)
                    file = io.BytesIO(store.download_artifact(registered))
                self.loaded[version] = joblib.load(file)
            return self.loaded[version]


class Handler(BaseHTTPRequestHandler):
    """One connection, kept open between requests."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    versions: Versions

    def do_GET(self):
        """Is a version ready? It is loaded by that, so that the first request need not wait."""
        self.answer(*self.asked(READY, lambda _: {"ready": True}))

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.answer(*self.asked(INFER, lambda model: self.infer(model, body)))

    def asked(self, path: re.Pattern, what: Callable) -> tuple[int, dict]:
        """Does something with the version in the path; whatever it dies of is the answer."""
        found = path.fullmatch(self.path)
        if found is None or found["model"] != self.versions.model:
            return 404, {"error": f"{self.path} is not served here"}
        try:
            return 200, what(self.versions[int(found["version"])])
        except Exception as error:
            return 500, {"error": f"{type(error).__name__}: {error}"}

    @staticmethod
    def infer(model, body: bytes) -> dict:
        columns = {tensor["name"]: tensor["data"] for tensor in json.loads(body)["inputs"]}
        scores = [float(score) for score in model.score(pd.DataFrame(columns))]
        output = {"name": "late", "shape": [len(scores)], "datatype": "FP64", "data": scores}
        return {"outputs": [output]}

    def answer(self, status: int, body: dict):
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        try:
            self.end_headers()
            self.wfile.write(text)
        except ConnectionError:  # who asked did not wait, and asks again
            self.close_connection = True

    def log_message(self, *_):
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="late_departure")
    parser.add_argument("--port", type=int, default=9001)
    args = parser.parse_args()
    Handler.versions = Versions(args.model)
    server = ThreadingHTTPServer(("127.0.0.1", args.port), Handler)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
