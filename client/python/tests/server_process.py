"""A real server for tests, also for those of the Feast client."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
START_SECONDS = 60


def binary() -> Path:
    path = Path(os.environ.get("DRIFTLINE_BIN") or ROOT / "bin" / "driftline")
    if not path.is_file():
        pytest.exit(f"there is no server at {path}: run make build, or set DRIFTLINE_BIN", 2)
    return path


@contextmanager
def running(folder: Path, *flags: str | Path) -> Iterator[str]:
    """The HTTP address of a server over an empty folder, on free ports."""
    log = folder / "log"
    command = [binary(), "serve", "--data", folder / "data", *flags]
    command += ["--http", "127.0.0.1:0", "--flight", "127.0.0.1:0"]
    with log.open("w") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
    try:
        yield _wait_for_url(process, log)
    finally:
        process.send_signal(signal.SIGTERM)
        status = process.wait(timeout=START_SECONDS)
    assert status == 0, f"the server ended with {status}:\n{log.read_text()[-4000:]}"


def _wait_for_url(process: subprocess.Popen, log: Path) -> str:
    """Reads the server's first lines until one names its HTTP address."""
    lines: queue.Queue[str] = queue.Queue()

    def read() -> None:
        for line in process.stdout:
            lines.put(line)
        lines.put("")

    threading.Thread(target=read, daemon=True).start()
    while line := lines.get(timeout=START_SECONDS):
        for word in line.split():
            if word.startswith("http://"):
                return word.rstrip("/")
    pytest.exit(f"the server did not start:\n{log.read_text()[-4000:]}", 2)
