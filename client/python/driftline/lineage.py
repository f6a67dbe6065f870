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
