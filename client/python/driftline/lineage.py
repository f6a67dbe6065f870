"""What a thing was made from, and what was made from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from driftline import _html


@dataclass(frozen=True)
class LineageNode:
    """One thing, with the few facts worth showing beside its name."""

    ref: str
    facts: dict[str, str]


@dataclass(frozen=True)
class LineageEdge:
    """Says that ``source`` was made using ``target``, and how."""

    source: str
    target: str
    kind: str


class Lineage:
    """A part of the graph of what was made from what, shown as a tree.

    Example:
        >>> print(store.lineage("model/late_departure@1"))
        model/late_departure@1
        └─ run/late_departure-1  (registered from)
           └─ dataset/late_departure@1  (trained on)

    Attributes:
        root: The thing that was asked for.
        direction: ``up`` to what it was made from, ``down`` to what was made from it.
        nodes: The things, nearest to the root first.
        edges: What connects them.
    """

    def __init__(self, body: Mapping[str, Any], direction: str = "up") -> None:
        self.root: str = body["root"]
        self.direction = direction
        self.nodes = [LineageNode(n["ref"], n.get("facts") or {}) for n in body["nodes"] or ()]
        self.edges = [LineageEdge(e["from"], e["to"], e["kind"]) for e in body["edges"] or ()]
        self._body = dict(body)

    def to_dict(self) -> dict[str, Any]:
        """Returns the graph in the server's JSON form."""
        return dict(self._body)

    def refs(self, kind: str = "") -> list[str]:
        """Returns the names of all things, or of those of one kind such as ``dataset``."""
        return [n.ref for n in self.nodes if not kind or n.ref.startswith(kind + "/")]

    def __repr__(self) -> str:
        return "\n".join(self._lines())

    def _repr_html_(self) -> str:
        return _html.preformatted(repr(self))

    def _lines(self) -> Iterator[str]:
        facts = {n.ref: n.facts for n in self.nodes}
        children: dict[str, list[tuple[str, str]]] = {}
        for edge in self.edges:
            near, far = edge.source, edge.target
            if self.direction == "down":
                near, far = far, near
            kind = f"{edge.kind} ↑" if self.direction == "down" else edge.kind
            children.setdefault(near, []).append((far, kind))
        yield _label(self.root, "", facts)
        yield from _branches(self.root, "", children, facts, {self.root})


def _branches(
    ref: str,
    indent: str,
    children: Mapping[str, list[tuple[str, str]]],
    facts: Mapping[str, Mapping[str, str]],
    seen: set[str],
) -> Iterator[str]:
    below = children.get(ref, [])
    for i, (child, kind) in enumerate(below):
        last = i == len(below) - 1
        again = child in seen and child in children
        line = _label(child, kind, {} if again else facts)
        yield f"{indent}{'└─' if last else '├─'} {line}{' …' if again else ''}"
        if not again:
            seen.add(child)
            deeper = indent + ("   " if last else "│  ")
            yield from _branches(child, deeper, children, facts, seen)


def _label(ref: str, kind: str, facts: Mapping[str, Mapping[str, str]]) -> str:
    known = ", ".join(f"{name} {value}" for name, value in facts.get(ref, {}).items())
    return "  ".join(part for part in (ref, f"({kind})" if kind else "", known) if part)


class PredictionTrace:
    """Where one prediction comes from, down to the rows of files.

    Example:
        >>> trace = store.why("p-1")
        >>> trace.model, trace.run, trace.datasets[0]["content_hash"]
        >>> trace.features.query("differs")

    Attributes:
        prediction: The prediction's id.
        log: The feature view that is its log.
        time: When it was made, as the server writes it.
        values: Its row of the log, as texts; nulls are left out.
        model: The model version that made it, such as ``model/late_departure@3``; "" if unknown.
        aliases: The aliases that the version has now.
        run: The run that made the model; "" if it is not known.
        commit: The code's commit; "" if it is not known.
        datasets: The training sets, in the server's form: ``content_hash``, ``files`` with
            all their rows, ``sources`` (views with snapshot and files), ``examples`` (rows of
            the same entity, each with its place in a file).
        notes: What is missing on the way, and why.
    """

    def __init__(self, body: Mapping[str, Any]) -> None:
        self.prediction: str = body["prediction"]
        self.log: str = body["log"]
        self.time: str = body["time"]
        self.values: dict[str, str] = body["values"]
        self.model: str = body.get("model", "")
        self.aliases: list[str] = body["aliases"]
        self.run: str = body.get("run", "")
        self.commit: str = body.get("commit", "")
        self.datasets: list[dict[str, Any]] = body["datasets"]
        self.notes: list[str] = body.get("notes") or []
        self._features: list[dict[str, Any]] = body["features"]
        self._body = dict(body)

    @property
    def features(self) -> Any:
        """One row per feature as a pandas DataFrame: served, offline, known, differs.

        ``offline`` is the value with all that is known by now, ``known`` with what was known
        at the time. Values are texts; None is null, or not logged (see ``logged``).
        """
        import pandas as pd

        columns = ["name", "feature", "logged", "served", "offline", "known", "differs"]
        return pd.DataFrame([[f.get(c) for c in columns] for f in self._features], columns=columns)

    def rows(self, dataset: int = 0) -> Any:
        """Returns the training rows of the prediction's entity as a pandas DataFrame.

        Args:
            dataset: Which of ``datasets``, from 0.
        """
        import pandas as pd

        return pd.DataFrame(
            [
                {"row": r["row"], "file": r["file"], "file_row": r["file_row"], **r["values"]}
                for r in self.datasets[dataset]["examples"]
            ]
        )

    def to_dict(self) -> dict[str, Any]:
        """Returns the trace in the server's JSON form."""
        return dict(self._body)

    def __repr__(self) -> str:
        lines = [f"prediction {self.prediction}  (in {self.log}, made {self.time})"]
        steps = [self.model, self.run] if self.run else [self.model]
        lines += [f"{'   ' * i}└─ {step}" for i, step in enumerate(steps) if step]
        for d in self.datasets:
            about = f"{d['rows']} rows, content {d['content_hash'][:12]}, {len(d['files'])} files"
            lines.append(f"{'   ' * len(steps)}└─ {d['dataset']}  ({about})")
        lines += [f"note: {note}" for note in self.notes]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return _html.preformatted(repr(self))
