"""What a run does beside the training: signs of life, measures of the machine, its output.

One thread for each run, which ends with it. Nothing that it does may stop the training: what
fails is tried again at its next turn.
"""

from __future__ import annotations

import contextlib
import io
import math
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from driftline.errors import DriftlineError, FailedPreconditionError
from driftline.system import Machine

SYSTEM_PREFIX = "system/"


class Companion:
    """The thread of one run, with a connection of its own."""

    def __init__(
        self,
        http: Any,
        id: str,
        heartbeat: float = 0,
        system_metrics: float = 0,
        output: Output | None = None,
        first: Callable[[], dict[str, bytes]] | None = None,
    ) -> None:
        self._http = http
        self._id = id
        self._heartbeat = heartbeat
        self._system = system_metrics
        self._output = output
        self._first = first
        self._samples = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._work, name=f"driftline {id}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread, after what it is doing, and sends the rest of the output."""
        self._end.set()
        self._thread.join()
        if self._output is not None:
            self._output.restore()
            self._quietly(self._send_output)

    def _work(self) -> None:
        self._quietly(self._send_first)
        machine = Machine() if self._system else None
        now = time.monotonic()
        breath = now + self._heartbeat / 3 if self._heartbeat else math.inf
        sample = now + self._system if self._system else math.inf
        while not self._end.wait(min(max(min(breath, sample) - now, 0), 3600)):
            now = time.monotonic()
            if machine is not None and now >= sample:
                sample = now + self._system
                self._quietly(self._send_measures, machine)
            if now >= breath:
                breath = now + self._heartbeat / 3
                self._quietly(self._http.post, "runs", self._id, "heartbeat", body={})
                self._quietly(self._send_output)

    def _send_first(self) -> None:
        for name, content in (self._first() if self._first else {}).items():
            self._http.put_bytes("runs", self._id, "artifacts", name, content=content)

    def _send_measures(self, machine: Machine) -> None:
        points = [
            {"key": SYSTEM_PREFIX + key, "value": value, "step": self._samples}
            for key, value in machine.measure().items()
        ]
        self._http.post("runs", self._id, "log", body={"metrics": points})
        self._samples += 1

    def _send_output(self) -> None:
        text = self._output.unsent() if self._output is not None else None
        if text is not None:
            self._http.put_bytes("runs", self._id, "artifacts", "output.log", content=text)

    def _quietly(self, work: Callable[..., Any], *arguments: Any, **options: Any) -> None:
        try:
            work(*arguments, **options)
        except FailedPreconditionError:
            self._end.set()  # somebody ended the run
        except (DriftlineError, OSError):
            pass


class Output:
    """What the process prints, kept as it is printed."""

    MOST = 8 << 20  # bytes: what comes after is counted only

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept = bytearray()
        self._left_out = 0
        self._sent = -1
        self._streams = (sys.stdout, sys.stderr)
        sys.stdout, sys.stderr = (_Tee(s, self._keep) for s in self._streams)

    def restore(self) -> None:
        """Lets the process print as before, unless somebody else took the streams since."""
        for name, stream in zip(("stdout", "stderr"), self._streams, strict=True):
            current = getattr(sys, name)
            if isinstance(current, _Tee) and current._stream is stream:
                setattr(sys, name, stream)

    def unsent(self) -> bytes | None:
        """Returns all that was printed, or None if nothing was since the last call."""
        with self._lock:
            size = len(self._kept) + self._left_out
            if size == max(self._sent, 0):
                return None
            self._sent = size
            text = bytes(self._kept)
            if self._left_out:
                text += f"\n… {self._left_out:,} bytes more\n".encode()
            return text

    def _keep(self, text: str) -> None:
        encoded = text.encode("utf-8", "replace")
        with self._lock:
            room = max(0, self.MOST - len(self._kept))
            self._kept += encoded[:room]
            self._left_out += len(encoded[room:])


class _Tee(io.TextIOBase):
    """A stream that also hands on what is written to it."""

    def __init__(self, stream: Any, keep: Callable[[str], None]) -> None:
        self._stream = stream
        self._keep = keep

    def write(self, text: str) -> int:
        with contextlib.suppress(Exception):
            self._keep(text)
        written: int = self._stream.write(text)
        return written

    def flush(self) -> None:
        self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
