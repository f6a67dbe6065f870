"""What is closed at the end of a with block."""

from __future__ import annotations

from types import TracebackType
from typing import TypeVar

_T = TypeVar("_T")


class Closing:
    """A context manager that closes itself, whether the block raised or not."""

    def close(self) -> None:
        """Gives back what it holds."""
        raise NotImplementedError

    def __enter__(self: _T) -> _T:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
