"""The forms in which reports can be read: the server renders all but the dict."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


class Forms:
    """What reports have in common: one body, rendered on demand."""

    def __init__(
        self, body: Mapping[str, Any], render: Callable[[Mapping[str, Any], str], str]
    ) -> None:
        self._body = dict(body)
        self._render = render

    def to_dict(self) -> dict[str, Any]:
        """Returns the report in the server's JSON form."""
        return dict(self._body)

    def to_html(self, path: str | Path | None = None) -> str:
        """Returns the report as a page that needs nothing else, and writes it to ``path``."""
        return self._form("html", path)

    def save_html(self, path: str | Path) -> None:
        """Writes the report to ``path`` as a page that needs nothing else."""
        self._form("html", path)

    def to_markdown(self, path: str | Path | None = None) -> str:
        """Returns the report in GitHub's Markdown, and writes it to ``path``."""
        return self._form("markdown", path)

    def to_junit(self, path: str | Path | None = None) -> str:
        """Returns the report as JUnit XML for a CI server, and writes it to ``path``.

        Each column, or check, is a test; it fails if the column has drifted, or the check failed.
        """
        return self._form("junit", path)

    def _form(self, form: str, path: str | Path | None) -> str:
        text = self._render(self._body, form)
        if path is not None:
            Path(path).write_text(text, encoding="utf-8")
        return text
