"""What becomes of predictions and labels that are logged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class PredictionReceipt:
    """What became of predictions that were logged.

    Attributes:
        model: The model.
        log: The feature view that has them.
        predictions: How many.
        ids: Those that were made up for rows that came without ids, in their order.
    """

    model: str
    log: str
    predictions: int
    ids: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> PredictionReceipt:
        """Reads the server's form."""
        return cls(body["model"], body["log"], body["predictions"], tuple(body.get("ids") or ()))


@dataclass(frozen=True)
class LabelReceipt:
    """What became of labels that were logged.

    Attributes:
        model: The model.
        view: The feature view that has them.
        labels: How many.
    """

    model: str
    view: str
    labels: int

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> LabelReceipt:
        """Reads the server's form."""
        return cls(body["model"], body["view"], body["labels"])
