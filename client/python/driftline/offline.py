"""Runs without a server: they are written to a folder, and uploaded later.

    run = driftline.init(project="late_departure", mode="offline")
    ...
    driftline.sync()                     # or: python -m driftline sync

A run's folder has ``run.jsonl``, what it said line by line; ``metrics.arrows``, the points of
its metrics as an Arrow stream; and ``artifacts``. A process that is killed leaves a folder
that can be uploaded: what was not written yet is at most a second old.
"""

from __future__ import annotations

import json
import re
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from driftline.errors import AlreadyExistsError, ConflictError, InvalidError

if TYPE_CHECKING:
    from driftline.store import FeatureStore

FOLDER = "driftline-offline"

POINTS = pa.schema(
    [
        ("key", pa.string()),
        ("value", pa.float64()),
        ("step", pa.int64()),
        ("time", pa.timestamp("us", tz="UTC")),
    ]
)

_AT_ONCE = 256  # points
_LONGEST = 1.0  # seconds that a point waits in memory


class Journal:
    """Takes what a run says in the place of a server, and knows one run."""

    def __init__(self, spec: Mapping[str, Any], folder: Path | None) -> None:
        """Begins a run in a folder of ``folder``; with none, nothing is kept."""
        slug = re.sub(r"[^\w]+", "-", spec["experiment"].lower()).strip("-") or "run"
        id = spec.get("id") or f"{slug}-{uuid.uuid4().hex[:8]}"
        spec = {**spec, "id": id, "started": _now()}
        self.url = ""
        self.run: dict[str, Any] = {
            **spec,
            "status": "RUNNING",
            "params": dict(spec.get("params") or {}),
            "tags": dict(spec.get("tags") or {}),
            "inputs": list(spec.get("inputs") or ()),
            "metrics": {},
            "artifacts": [],
        }
        self.folder = None if folder is None else folder / id
        self._points: list[tuple[str, float, int, datetime]] = []
        self._stream: Any = None
        self._written = time.monotonic()
        if self.folder is not None:
            self.folder.mkdir(parents=True)
            self._lines = (self.folder / "run.jsonl").open("a", encoding="utf-8")
            self._write({"create": spec})

    def get(self, *path: str, **query: Any) -> Any:
        """Returns the run; its history is in the folder only."""
        if path[2:]:
            raise InvalidError("a run that is offline has no history to be asked for", "sync it")
        return self.run

    def post(self, *path: str, body: Any) -> Any:
        """Takes what is posted to the run."""
        what = path[-1]
        if what == "log":
            self._log(body)
        elif what == "finish":
            self._finish(body["status"])
        return self.run

    patch = post_again = post

    def put_bytes(self, *path: str, content: Any) -> Any:
        """Keeps a file."""
        name = path[-1]
        artifact = {"path": name, "size": 0, "sha256": ""}
        if self.folder is not None:
            target = self.folder / "artifacts" / f"{uuid.uuid4().hex}"
            target.parent.mkdir(exist_ok=True)
            with target.open("wb") as file:
                if isinstance(content, (bytes, bytearray)):
                    file.write(content)
                else:
                    shutil.copyfileobj(content, file)
            artifact["size"] = target.stat().st_size
            self._write({"artifact": name, "file": target.name})
        kept = [a for a in self.run["artifacts"] if a["path"] != name]
        self.run["artifacts"] = [*kept, artifact]
        return artifact

    def flush(self) -> None:
        """Writes the points that wait."""
        self._written = time.monotonic()
        if self.folder is None or not self._points:
            self._points.clear()
            return
        if self._stream is None:
            self._stream = pa.ipc.new_stream(str(self.folder / "metrics.arrows"), POINTS)
        columns = zip(*self._points, strict=True)
        arrays = [pa.array(c, type=f.type) for c, f in zip(columns, POINTS, strict=True)]
        self._stream.write_batch(pa.record_batch(arrays, schema=POINTS))
        self._points.clear()

    def _log(self, body: Mapping[str, Any]) -> None:
        now = datetime.now(timezone.utc)
        for point in body.get("metrics") or ():
            value = float(point["value"])
            self.run["metrics"][point["key"]] = value
            self._points.append((point["key"], value, point["step"], now))
        rest = {key: value for key, value in body.items() if key != "metrics" and value}
        for key, values in rest.items():
            if key == "inputs":
                self.run["inputs"] = list(dict.fromkeys([*self.run["inputs"], *values]))
            else:
                self._set(key, values)
        if rest:
            self._write({"log": rest})
        if len(self._points) >= _AT_ONCE or time.monotonic() - self._written > _LONGEST:
            self.flush()

    def _set(self, kind: str, values: Mapping[str, str]) -> None:
        have = self.run[kind]
        for key, value in values.items():
            if kind == "params" and have.get(key, value) != value:
                raise ConflictError(
                    f"param {key!r} is {have[key]!r} already and cannot become {value!r}",
                    "a param is set once; use a tag for what changes",
                )
        have |= values

    def _finish(self, status: str) -> None:
        self.flush()
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        self.run["status"], self.run["ended"] = status, _now()
        if self.folder is not None:
            self._write({"finish": {"status": status, "ended": self.run["ended"]}})
            self._lines.close()

    def _write(self, line: Mapping[str, Any]) -> None:
        if self.folder is not None:
            self._lines.write(json.dumps(line, ensure_ascii=False) + "\n")
            self._lines.flush()


def _now() -> str:
    return datetime.now(timezone.utc).isoformat()


def upload(store: FeatureStore, folder: Path) -> str:
    """Uploads one run and returns its id. Doing it again changes nothing."""
    lines = list(_lines(folder / "run.jsonl"))
    if not lines or "create" not in lines[0]:
        raise InvalidError(f"{folder} is no folder of a run", "name one that mode='offline' made")
    spec = lines[0]["create"]
    id: str = spec["id"]
    http = store._http
    try:
        http.post("runs", body=spec)
    except AlreadyExistsError:  # uploaded before, whole or in part
        http.patch("runs", id, body={"status": "RUNNING"})
    for line in lines[1:]:
        if "log" in line:
            http.post("runs", id, "log", body=line["log"])
        elif "artifact" in line:
            with (folder / "artifacts" / line["file"]).open("rb") as file:
                http.put_bytes("runs", id, "artifacts", line["artifact"], content=file)
    points = read_points(folder / "metrics.arrows")
    if points.num_rows:
        store._log_points(id, points)
    end = next((line["finish"] for line in lines if "finish" in line), None)
    # One without an end was killed, or goes on; it is as if it had been lost.
    http.patch("runs", id, body=end or {"status": "FAILED"})
    (folder / "synced").write_text(_now())
    return id


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yields the lines that are whole: the last may not be."""
    if not path.is_file():
        return
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.endswith("\n"):
                yield json.loads(line)


def read_points(path: Path) -> pa.Table:
    """Reads the batches that are whole: the last may not be."""
    batches = []
    if path.is_file():
        with pa.OSFile(str(path)) as file:
            try:
                reader = pa.ipc.open_stream(file)
                while True:
                    batches.append(reader.read_next_batch())
            except (StopIteration, pa.ArrowInvalid, OSError):
                pass  # the end, or where the process was killed
    return pa.Table.from_batches(batches, schema=POINTS)


def waiting(folder: Path) -> list[Path]:
    """Returns the folders of runs under a folder that were not uploaded, the oldest first."""
    if (folder / "run.jsonl").is_file():
        return [folder]
    found = [p.parent for p in folder.glob("*/run.jsonl") if not (p.parent / "synced").exists()]
    return sorted(found, key=lambda p: (p / "run.jsonl").stat().st_mtime)


def points_of(table: Any, step: str, time: str) -> pa.Table:
    """Returns the points of a table that has a column for each metric."""
    from driftline._tables import to_table

    rows = to_table(table)
    names = [name for name in rows.column_names if name not in (step, time)]
    if not names:
        raise InvalidError("the table has no column that is a metric", "add one, such as loss")
    count = rows.num_rows
    steps = rows[step].cast(pa.int64()) if step in rows.column_names else pa.array(range(count))
    if time in rows.column_names:
        times = rows[time].cast(POINTS.field("time").type)
    else:
        now = pa.scalar(datetime.now(timezone.utc), POINTS.field("time").type)
        times = pa.repeat(now, count)
    parts = []
    for name in names:
        values = rows[name].cast(pa.float64())
        keys = pa.repeat(name, count)
        part = pa.table([keys, values, steps, times], schema=POINTS)
        parts.append(part.filter(values.is_valid()) if values.null_count else part)
    return pa.concat_tables(parts)
