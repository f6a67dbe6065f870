"""Runs one peer: `python protocol.py MODULE`, driven by lines of JSON (see bench/peer.go).

The module has a class `Peer`:

    class Peer:
        modules = ("duckdb", "pyarrow")     # whose versions are reported

        def __init__(self, config): ...      # prepare; not timed
        def run(self, check) -> Measured: ...
        def close(self): ...                 # optional

A module that cannot be imported is reported as missing. Only the protocol writes to
the real stdout: what libraries print goes to stderr.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import sys
import traceback
import zlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

MIX_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
NULL_WORD = np.uint64(0x6E756C6C6E756C6C)


@dataclass
class Measured:
    """The outcome of one run: `value` in the workload's unit, and what was found."""

    value: float
    table: pa.Table | None = None  # looked at only if the run is checked
    rows: int | None = None  # of an answer that is no table
    numbers: list[float] = field(default_factory=list)


def checksum(table: pa.Table) -> str:
    """The twin of checksum in bench/answer.go; that one has the definition."""
    hashes = np.zeros(table.num_rows, dtype=np.uint64)
    for name in sorted(table.column_names):
        hashes = (hashes ^ _words(table.column(name))) * MIX_MULTIPLIER
        hashes ^= hashes >> np.uint64(32)
    return f"{int(hashes.sum(dtype=np.uint64)):016x}"


def _words(column: pa.ChunkedArray) -> np.ndarray:
    valid = column.is_valid().to_numpy()
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    words = _valid_words(column)
    words[~valid] = NULL_WORD
    return words


def _valid_words(column: pa.ChunkedArray) -> np.ndarray:
    kind = column.type
    if pa.types.is_floating(kind):
        return _values(column.cast(pa.float64()), np.float64).view(np.uint64)
    if pa.types.is_timestamp(kind):
        return _values(column.cast(pa.timestamp("us", kind.tz)), np.int64).view(np.uint64)
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return _values(column.cast(pa.int64()), np.int64).view(np.uint64)
    if pa.types.is_null(kind):
        return np.zeros(len(column), dtype=np.uint64)
    values = (v.encode() if isinstance(v, str) else v or b"" for v in column.to_pylist())
    return np.fromiter((zlib.crc32(v) for v in values), dtype=np.uint64, count=len(column))


def _values(column: pa.ChunkedArray, dtype: type) -> np.ndarray:
    """The value buffers, copied; whatever nulls hold is in there too."""
    parts = [np.empty(0, dtype=dtype)]
    for chunk in column.chunks:
        if len(chunk):
            buffer = np.frombuffer(chunk.buffers()[1], dtype=dtype)
            parts.append(buffer[chunk.offset : chunk.offset + len(chunk)])
    return np.concatenate(parts)


def main(module_name: str) -> None:
    """Answer questions until stdin ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    peer = None
    for line in sys.stdin:
        question = json.loads(line)
        try:
            if question["do"] == "prepare":
                peer_class = importlib.import_module(module_name).Peer
                peer = peer_class(question["config"])
                reply: dict[str, Any] = {"versions": _versions(peer_class.modules)}
            else:
                reply = _run(peer, question["check"])
        except ModuleNotFoundError as missing:
            reply = {"missing": missing.name}
        except Exception as error:
            traceback.print_exc()
            reply = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(reply) + "\n")
        answers.flush()
    if hasattr(peer, "close"):
        peer.close()


def _run(peer: Any, check: bool) -> dict[str, Any]:
    measured = peer.run(check)
    reply: dict[str, Any] = {"value": measured.value}
    if check:
        reply["numbers"] = [float(number).hex() for number in measured.numbers]
        reply["rows"] = measured.rows or 0
        reply["checksum"] = ""
    if check and measured.table is not None:
        reply["rows"] = measured.table.num_rows
        reply["checksum"] = checksum(measured.table)
    return reply


def _versions(modules: tuple[str, ...]) -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in modules}


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    sys.modules["protocol"] = sys.modules["__main__"]  # so that peers import this very module
    main(sys.argv[1])
