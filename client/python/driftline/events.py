"""What happens on a server, as it happens.

A store yields it:

for event in store.events(kinds=["alert", "rollout"]):
    print(event["time"], event["text"])
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from typing import Any

import requests

from driftline._http import HTTP
from driftline.errors import UnavailableError

_LEAST_WAIT, _MOST_WAIT = 0.5, 30.0  # seconds between two attempts to come back


def follow(
    http: HTTP, after: int | None, model: str, kinds: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """Yields events; a connection that breaks is made again, and nothing is missed."""
    wait, connected = _LEAST_WAIT, False
    while True:
        try:
            with http.stream("events", last=after, model=model, kind=list(kinds)) as answer:
                connected = True
                for place, event in _blocks(answer):
                    after, wait = place, _LEAST_WAIT
                    if event is not None:
                        yield event
        except (UnavailableError, requests.RequestException):
            if not connected:
                raise
        time.sleep(wait)
        wait = min(2 * wait, _MOST_WAIT)


def _blocks(answer: requests.Response) -> Iterator[tuple[int, dict[str, Any] | None]]:
    place: int | None = None
    event = None
    for line in answer.iter_lines(chunk_size=1):
        name, _, value = line.partition(b": ")
        if not line:
            if place is not None:
                yield place, event
            place = event = None
        elif name == b"id":
            place = int(value)
        elif name == b"data":
            event = json.loads(value)
