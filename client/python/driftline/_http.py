"""JSON over HTTP, with the server's errors as exceptions."""

from __future__ import annotations

import hashlib
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests

from driftline.errors import (
    DataLossError,
    DeadlineError,
    DriftlineError,
    InternalError,
    UnavailableError,
    from_json,
)

_TIMEOUT = (5, 300)  # seconds to connect, and between two bytes of the answer

# What the gateway means by a status, whose errors are in the words of MLflow.
_GATEWAY_CODES = {
    400: "invalid",
    404: "not_found",
    412: "failed_precondition",
    429: "exhausted",
    502: "unavailable",
    503: "unavailable",
    504: "deadline",
}


class HTTP:
    """Requests to one server."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._session = requests.Session()

    def again(self) -> HTTP:
        """Returns another connection to the server, for another thread."""
        return HTTP(self.url)

    def get(self, *path: str, **query: Any) -> Any:
        """Returns the JSON at a path."""
        query = {name: value for name, value in query.items() if value not in (None, "")}
        return self._send("GET", path, params=query).json()

    def post(self, *path: str, body: Any, headers: dict[str, str] | None = None) -> Any:
        """Posts JSON and returns JSON."""
        return self._send("POST", path, json=body, headers=headers).json()

    def post_once(self, *path: str, body: Any) -> Any:
        """Posts JSON under a key of its own, and again if the answer was lost."""
        return self.post_again(*path, body=body, headers={"Idempotency-Key": uuid.uuid4().hex})

    def post_again(self, *path: str, body: Any, headers: dict[str, str] | None = None) -> Any:
        """Posts JSON that does the same twice as once, and again if the answer was lost."""
        try:
            return self.post(*path, body=body, headers=headers)
        except UnavailableError:
            return self.post(*path, body=body, headers=headers)

    def predict(self, model: str, body: Any, headers: dict[str, str]) -> requests.Response:
        """Posts a request of MLflow's form to the gateway."""
        path = f"models/{quote(model, safe='')}/invocations"
        return self._send_to(path, "POST", json=body, headers=headers)

    def put(self, *path: str, body: Any) -> Any:
        """Puts JSON and returns JSON."""
        return self._send("PUT", path, json=body).json()

    def patch(self, *path: str, body: Any) -> Any:
        """Changes what is at a path and returns JSON."""
        return self._send("PATCH", path, json=body).json()

    def delete(self, *path: str, **query: str) -> Any:
        """Deletes what is at a path and returns JSON."""
        query = {name: value for name, value in query.items() if value}
        return self._send("DELETE", path, params=query).json()

    def put_bytes(self, *path: str, content: Any) -> Any:
        """Puts bytes or an open file and returns JSON."""
        headers = {"Content-Type": "application/octet-stream"}
        return self._send("PUT", path, data=content, headers=headers).json()

    def get_bytes(self, *path: str) -> bytes:
        """Returns the bytes at a path."""
        return self._send("GET", path).content

    def get_checked(self, *path: str) -> bytes:
        """Returns the bytes at a path, compared with the hash that the server says."""
        answer = self._send("GET", path)
        _compare(path[-1], hashlib.sha256(answer.content), answer.headers["X-Content-SHA256"])
        return answer.content

    def get_text(self, *path: str) -> str:
        """Returns the text at a path."""
        answer = self._send("GET", path)
        answer.encoding = "utf-8"
        return answer.text

    def post_bytes(self, *path: str, content: Any, **query: str) -> Any:
        """Posts bytes or an open file and returns JSON."""
        query = {name: value for name, value in query.items() if value}
        headers = {"Content-Type": "application/octet-stream"}
        return self._send("POST", path, data=content, headers=headers, params=query).json()

    def download(self, *path: str, to: Path, sha256: str | None = None) -> None:
        """Writes the bytes at a path to a file, which appears when its hash is right."""
        part = to.with_name(to.name + ".part")
        digest = hashlib.sha256()
        try:
            with self._send("GET", path, stream=True) as answer, part.open("wb") as file:
                for chunk in answer.iter_content(1 << 20):
                    digest.update(chunk)
                    file.write(chunk)
            if sha256 is not None:
                _compare(path[-1], digest, sha256)
            part.replace(to)
        finally:
            part.unlink(missing_ok=True)

    def stream(self, *path: str, last: int | None, **query: Any) -> requests.Response:
        """Returns a stream of events, of those after ``last``; the caller closes it."""
        headers = {"Accept": "text/event-stream"}
        if last is not None:
            headers["Last-Event-ID"] = str(last)
        query = {name: value for name, value in query.items() if value}
        return self._send("GET", path, params=query, headers=headers, stream=True)

    def post_text(self, *path: str, body: Any, **query: str) -> str:
        """Posts JSON and returns text."""
        answer = self._send("POST", path, json=body, params=query)
        answer.encoding = "utf-8"
        return answer.text

    def close(self) -> None:
        """Gives the connections back."""
        self._session.close()

    def _send(self, method: str, path: tuple[str, ...], **arguments: Any) -> requests.Response:
        # A segment may hold slashes where the last one is a whole path: an artifact's.
        to = "/".join(["api/v1", *(quote(segment, safe="/@") for segment in path)])
        return self._send_to(to, method, **arguments)

    def _send_to(self, path: str, method: str, **arguments: Any) -> requests.Response:
        url = f"{self.url}/{path}"
        try:
            answer = self._session.request(method, url, timeout=_TIMEOUT, **arguments)
        except requests.ConnectionError:
            raise UnavailableError(
                f"there is no Driftline server at {self.url}", "start one with: driftline serve"
            ) from None
        except requests.Timeout:
            raise DeadlineError(f"the server at {self.url} did not answer in time") from None
        if not answer.ok:
            raise _error_of(answer)
        return answer


def _compare(name: str, digest: Any, sha256: str) -> None:
    if digest.hexdigest() != sha256:
        raise DataLossError(
            f"{name} does not have the hash that the server says", "download it again"
        )


def _error_of(answer: requests.Response) -> DriftlineError:
    try:
        body = answer.json()
    except ValueError:
        body = None
    if isinstance(body, dict) and "code" in body:
        return from_json(body)
    if isinstance(body, dict) and "error_code" in body and answer.status_code in _GATEWAY_CODES:
        return from_json({**body, "code": _GATEWAY_CODES[answer.status_code]})
    return InternalError(
        f"the server answered {answer.status_code} {answer.reason} without saying why",
        "check that the address is a Driftline server's",
    )
