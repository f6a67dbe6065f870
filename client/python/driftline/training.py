"""What a training job is told, and how it answers.

A job that a policy starts finds what it is about in its environment:

    import driftline.training

    with driftline.training.job() as job:
        rows = job.dataset().to_pandas()
        model = fit(rows, depth=int(job.parameters.get("depth", "6")))
        version = job.store.register_model(job.model, ..., tags=job.tags)
        job.report(version, rows=len(rows))

What the block raises is reported as a failure. Without a report, the newest version that has
``job.tags`` counts.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import pyarrow as pa

import driftline
from driftline._http import HTTP
from driftline.errors import ConflictError, DriftlineError, FailedPreconditionError
from driftline.models import ModelVersion
from driftline.store import FeatureStore

TAG = "driftline.training_run"

_PARAMETER = "DRIFTLINE_PARAM_"
_BEAT_SECONDS = 15.0


class TrainingJob:
    """One attempt at a training run, seen from inside.

    Attributes:
        model: The model that is trained.
        run_id: The training run.
        token: The right to report: a later attempt has a greater one.
        dataset_ref: What to train on, pinned, such as ``dataset/late_departure@4``; "" if the
            policy names no dataset.
        parameters: What the policy says to the job.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        missing = [n for n in _NEEDED if not environ.get(n)]
        if missing:
            raise FailedPreconditionError(
                f"this is no training job: the environment has no {', '.join(missing)}",
                "a policy starts it; driftline train MODEL asks for a run",
            )
        self.model = environ["DRIFTLINE_MODEL"]
        self.run_id = environ["DRIFTLINE_TRAINING_RUN"]
        self.token = int(environ["DRIFTLINE_TRAINING_TOKEN"])
        self._secret = environ["DRIFTLINE_TRAINING_SECRET"]
        self.dataset_ref = environ.get("DRIFTLINE_DATASET", "")
        self.parameters = {
            name[len(_PARAMETER) :]: value
            for name, value in environ.items()
            if name.startswith(_PARAMETER)
        }
        self._url = environ["DRIFTLINE_SERVER"]
        self._http = HTTP(self._url)
        self._store: FeatureStore | None = None
        self._reported = False

    def __repr__(self) -> str:
        return f"<TrainingJob {self.run_id}>"

    @property
    def tags(self) -> dict[str, str]:
        """The tags by which a version says that this run made it, with the proof that it did.

        The server keeps the name of the run only.
        """
        return {TAG: f"{self.run_id}:{self.token}:{self._secret}"}

    @property
    def store(self) -> FeatureStore:
        """The server that the job belongs to."""
        if self._store is None:
            self._store = driftline.connect(self._url)
        return self._store

    def dataset(self, split: str | None = None) -> pa.Table:
        """Returns the rows to train on, exactly those that the run was given.

        Args:
            split: One part of a dataset that is divided, such as ``train``.
        """
        if not self.dataset_ref:
            raise FailedPreconditionError(
                f"training run {self.run_id} has no dataset",
                "name one in the policy: training: {dataset: …}",
            )
        name, _, version = self.dataset_ref.removeprefix("dataset/").partition("@")
        return self.store.read_dataset(name, int(version), split=split)

    def heartbeat(self) -> None:
        """Says that the job is alive. A conflict means that it must stop."""
        self._post("heartbeat", {})

    def report(self, candidate: ModelVersion | int, *, rows: int = 0, sha256: str = "") -> None:
        """Says that the run succeeded.

        Args:
            candidate: The version that it registered.
            rows: How many rows it was trained on.
            sha256: The hash of the file that was written; another one fails the run.
        """
        number = candidate if isinstance(candidate, int) else candidate.version
        body = {"succeeded": True, "candidate": int(number)}
        self._post("result", {**body, **_given(rows=rows, sha256=sha256)})
        self._reported = True

    def fail(self, why: str) -> None:
        """Says that the run came to nothing."""
        self._post("result", {"succeeded": False, "error": why[:2000]})
        self._reported = True

    def close(self) -> None:
        """Gives the connections back."""
        self._http.close()
        if self._store is not None:
            self._store.close()

    def _post(self, what: str, body: dict[str, Any]) -> None:
        proof = {"token": self.token, "secret": self._secret}
        self._http.post("training-runs", self.run_id, what, body={**proof, **body})


_NEEDED = (
    "DRIFTLINE_MODEL",
    "DRIFTLINE_TRAINING_RUN",
    "DRIFTLINE_TRAINING_TOKEN",
    "DRIFTLINE_TRAINING_SECRET",
    "DRIFTLINE_SERVER",
)


@contextmanager
def job(environ: Mapping[str, str] = os.environ) -> Iterator[TrainingJob]:
    """Runs a block as the training job that the environment names.

    The server hears every 15 seconds that it is alive, and what the block raises.
    """
    this = TrainingJob(environ)
    done = threading.Event()
    beats = threading.Thread(target=_beat, args=(this, done), daemon=True)
    beats.start()
    try:
        yield this
    except BaseException as error:
        if not this._reported:
            # A conflict: another attempt has begun, or the run has ended. Nobody listens.
            with suppress(ConflictError):
                this.fail(f"{type(error).__name__}: {error}")
        raise
    finally:
        done.set()
        beats.join()
        this.close()


def _beat(this: TrainingJob, done: threading.Event) -> None:
    while not done.wait(_BEAT_SECONDS):
        try:
            this.heartbeat()
        except DriftlineError:
            continue  # the report says what is wrong, if it lasts


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value}
