"""Where a run's code comes from: program, commit, changes, and the packages beside it."""

from __future__ import annotations

import contextlib
import importlib.metadata
import platform
import subprocess
import sys
from pathlib import Path

MOST_DIFF = 4 << 20  # bytes


def tags() -> dict[str, str]:
    """Returns the tags by which MLflow's users know it, as far as there is something to say."""
    found = {"python.version": platform.python_version()}
    program = sys.argv[0] if sys.argv and sys.argv[0] not in ("", "-c", "-m") else ""
    if program:
        found["mlflow.source.name"] = Path(program).name
    commit = _git("rev-parse", "HEAD")
    if commit:
        found["mlflow.source.git.commit"] = commit.strip()
        branch = (_git("rev-parse", "--abbrev-ref", "HEAD") or "").strip()
        if branch and branch != "HEAD":
            found["mlflow.source.git.branch"] = branch
    return found


def files() -> dict[str, bytes]:
    """Returns what a run keeps of it: the packages, and what is not committed."""
    found = {"code/requirements.txt": packages().encode()}
    diff = _git("diff", "HEAD", "--no-color", "--no-ext-diff")
    if diff and len(diff) <= MOST_DIFF:
        found["code/uncommitted.diff"] = diff.encode("utf-8", "surrogateescape")
    return found


def packages() -> str:
    """Returns the installed packages as a file of requirements."""
    names = {}
    for package in importlib.metadata.distributions():
        with contextlib.suppress(Exception):  # one that is half installed says nothing
            name = package.metadata["Name"]
            if name:
                names[name.lower()] = f"{name}=={package.version}"
    return "\n".join(names[key] for key in sorted(names)) + "\n"


def _git(*arguments: str) -> str | None:
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        answer = subprocess.run(
            ["git", *arguments],
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            timeout=10,
            check=True,
        )
        return answer.stdout
    return None
