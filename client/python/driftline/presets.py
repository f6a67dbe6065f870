"""Presets: named rules of a comparison.

A preset is applied as a feature view is, and named wherever tables are compared:

    from driftline import Preset

    store.apply(Preset(
        name="payments",
        tests=[
            {"columns": ["amount"], "test": "wasserstein", "threshold": 0.2},
            {"types": ["string"], "test": "psi", "threshold": 0.25},
        ],
        margin=0.05,
    ))
    store.drift(reference, current, preset="payments")
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Preset:
    """The rules of a comparison, as they are defined.

    Attributes:
        name: Its name; may be empty for one that is given to ``store.drift`` itself.
        base: The preset whose rules hold where this one says nothing: ``driftline`` (the
            default), ``evidently`` or ``nannyml``.
        tests: Which columns get which test: dicts of ``columns``, ``types`` or ``kind``,
            ``test`` and ``threshold``.
        exclude: Columns to leave out, where the tables have them.
        alpha: The rate of false alarms over all columns.
        correction: For many columns: ``bh``, ``by``, ``e-bh`` or ``none``.
        margin: The smallest effect that counts.
        drift_share: The share of drifted columns from which on the data set has drifted.
        multivariate: Tests of all columns together: ``mmd``, ``classifier``.
        description: For people.
        owner: Whom to ask.
        tags: For people and scripts.
    """

    name: str = ""
    base: str = ""
    tests: Sequence[Mapping[str, Any]] = ()
    exclude: Sequence[str] = ()
    alpha: float | None = None
    correction: str = ""
    margin: float | None = None
    drift_share: float | None = None
    multivariate: Sequence[str] = ()
    description: str = ""
    owner: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Returns the form that the server reads."""
        body = {
            "name": self.name,
            "base": self.base,
            "tests": [dict(test) for test in self.tests],
            "exclude": list(self.exclude),
            "alpha": self.alpha,
            "correction": self.correction,
            "margin": self.margin,
            "drift_share": self.drift_share,
            "multivariate": list(self.multivariate),
            "description": self.description,
            "owner": self.owner,
            "tags": dict(self.tags),
        }
        keep_zero = ("margin", "drift_share")
        return {n: v for n, v in body.items() if v or (n in keep_zero and v is not None)}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Preset:
        """Reads the server's form."""
        names = set(cls.__dataclass_fields__)
        return cls(**{name: value for name, value in body.items() if name in names})
