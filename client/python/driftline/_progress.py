"""How far a long stream is, for people who watch: on a terminal or in a notebook."""

from __future__ import annotations

import sys
import time
from typing import Any

from driftline._closing import Closing

_PATIENCE = 1.0  # seconds before anything is shown
_PERIOD = 0.2  # seconds between two looks


class Progress(Closing):
    """Counts rows and shows them once the stream has taken a second.

    Example:
        >>> with Progress("weather", total=26_115) as progress:
        ...     progress.add(1_000)
    """

    def __init__(self, label: str, total: int | None) -> None:
        self._label = label
        self._total = total
        self._rows = 0
        self._began = time.monotonic()
        self._next = self._began + _PATIENCE
        self._screen = _find_screen()

    def add(self, rows: int) -> None:
        """Counts rows that have been sent."""
        self._rows += rows
        if self._screen is None or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _PERIOD
        self._screen.show(self._line())

    def close(self) -> None:
        """Shows the last line, if any was shown."""
        if self._screen is not None:
            self._screen.close(self._line())

    def _line(self) -> str:
        seconds = max(time.monotonic() - self._began, 1e-9)
        rate = f"{self._rows / seconds:,.0f} rows/s"
        if not self._total:
            return f"{self._label}: {self._rows:,} rows, {rate}"
        done = min(self._rows / self._total, 1)
        bar = ("█" * round(done * 20)).ljust(20, "░")
        return f"{self._label} {bar} {done:4.0%} {self._rows:,} of {self._total:,} rows, {rate}"


class _Terminal:
    def __init__(self) -> None:
        self._shown = 0

    def show(self, line: str) -> None:
        sys.stderr.write("\r" + line.ljust(self._shown))
        sys.stderr.flush()
        self._shown = len(line)

    def close(self, line: str) -> None:
        if self._shown:
            self.show(line)
            sys.stderr.write("\n")


class _Notebook:
    def __init__(self, display: Any) -> None:
        self._display = display
        self._handle: Any = None

    def show(self, line: str) -> None:
        content = {"text/plain": line}
        if self._handle is None:
            self._handle = self._display(content, raw=True, display_id=True)
        else:
            self._handle.update(content, raw=True)

    def close(self, line: str) -> None:
        if self._handle is not None:
            self.show(line)


def _find_screen() -> _Terminal | _Notebook | None:
    if "ipykernel" in sys.modules and "IPython" in sys.modules:
        from IPython.display import display  # there already, in a notebook

        return _Notebook(display)
    return _Terminal() if sys.stderr is not None and sys.stderr.isatty() else None
