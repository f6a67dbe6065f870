"""What this process read last, so that the runs that it starts say so by themselves.

A training set that is retrieved is remembered, saved ones as ``dataset/late@3``, others
as the snapshots that they were read from. A run that starts then has read what was
retrieved since the run before, or, if that was nothing, what that run had read; a run that
is open reads what is retrieved while it is. Runs of MLflow carry it in a tag that the
server understands, ``driftline.inputs``.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import weakref
from collections.abc import Iterable
from typing import Any

INPUTS_TAG = "driftline.inputs"

_lock = threading.Lock()
_refs: dict[str, list[str]] = {}  # by the server's address
_sealed: set[str] = set()  # addresses that a run was started for since
_runs: weakref.WeakSet[Any] = weakref.WeakSet()  # Driftline's own that are open


def note(url: str, refs: Iterable[str]) -> None:
    """Remembers what was read from the server at an address, and tells the open runs."""
    refs = list(refs)
    if not refs:
        return
    with _lock:
        if url in _sealed:
            _sealed.discard(url)
            _refs[url] = []
        have = _refs.setdefault(url, [])
        have.extend(ref for ref in refs if ref not in have)
        runs = [run for run in _runs if run.status == "RUNNING" and run.url == url]
    for run in runs:
        with contextlib.suppress(Exception):  # a note must not cost a training set
            run.log_inputs(refs)
    _tag_mlflow(refs)


def current(url: str | None = None) -> list[str]:
    """Returns what a run that starts now has read; of any server without an address."""
    with _lock:
        if url is None:
            return [ref for refs in _refs.values() for ref in refs]
        return list(_refs.get(url, ()))


def began(url: str | None = None, run: Any = None) -> list[str]:
    """Returns what a run that starts now has read, and remembers that it started."""
    refs = current(url)
    with _lock:
        _sealed.update(_refs if url is None else {url})
        if run is not None:
            _runs.add(run)
    return refs


def _tag_mlflow(refs: list[str]) -> None:
    """Adds to the tag of MLflow's active run, if there is one in this process."""
    mlflow = sys.modules.get("mlflow")
    if mlflow is None:
        return
    with contextlib.suppress(Exception):
        run = mlflow.active_run()
        if run is None:
            return
        client = mlflow.MlflowClient()
        had = client.get_run(run.info.run_id).data.tags.get(INPUTS_TAG, "")
        all_refs = dict.fromkeys([*filter(None, had.split(",")), *refs])
        client.set_tag(run.info.run_id, INPUTS_TAG, ",".join(all_refs))
