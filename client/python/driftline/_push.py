"""Small writes over one open call."""

from __future__ import annotations

import json
import threading
from collections import deque
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

import pyarrow as pa
from pyarrow import flight

from driftline._closing import Closing
from driftline._flight import Flight
from driftline._tables import fit, open_source
from driftline.errors import DriftlineError, InvalidError, UnavailableError, from_json
from driftline.retrieval import IngestResult


class Pusher(Closing):
    """Writes small batches to one feature view, each a durable write of its own.

    ``store.pusher`` makes one. A push costs a fraction of what a call of ``ingest`` does.
    It can be used from several threads, whose pushes are then in flight together, and as
    a context manager. Writes take effect in the order in which they were begun.

    Example:
        >>> with store.pusher("weather") as pusher:
        ...     pusher.push([{"origin": "JFK", "event_timestamp": now, "temp": 20.5, "wind": 7}])
    """

    def __init__(
        self,
        view: str,
        schema: pa.Schema,
        connection: Flight,
    ) -> None:
        self._schema = schema
        self._translate = connection.translate
        self._sending = threading.Lock()  # held while a batch is sent, which may take a while
        self._lock = threading.Lock()  # of what follows; held for moments only
        self._waiting: deque[Future[IngestResult]] = deque()
        self._over: DriftlineError | None = None
        self._closed = False
        self._writer, self._reader = connection.open_push(view, schema)
        self._receiver = threading.Thread(target=self._receive, daemon=True)
        self._receiver.start()

    def push(self, data: Any, idempotency_key: str | None = None) -> IngestResult:
        """Writes rows; when it returns they are durable and visible, online and offline.

        An error is of these rows alone, and the pusher can go on, unless it is an
        ``UnavailableError``: then the connection is lost, and another pusher is needed.

        Args:
            data: Rows with all the columns of the view, as any kind of table that
                ``ingest`` takes.
            idempotency_key: A name for this write, as for ``ingest``.
        """
        return self.submit(data, idempotency_key).result()

    def submit(self, data: Any, idempotency_key: str | None = None) -> Future[IngestResult]:
        """Begins to write rows, and returns where the result will be."""
        batch = self._batch(data)
        note = {} if idempotency_key is None else {"idempotency_key": idempotency_key}
        future: Future[IngestResult] = Future()
        future.set_running_or_notify_cancel()  # what is sent cannot be taken back
        with self._sending:
            with self._lock:
                if self._closed:
                    raise ValueError("the pusher is closed")
                if self._over is not None:
                    raise self._over
                self._waiting.append(future)
            # An error of sending ends the call, and the receiver learns why.
            with suppress(flight.FlightError, pa.ArrowException, OSError):
                self._writer.write_with_metadata(batch, json.dumps(note).encode())
        return future

    def close(self) -> None:
        """Waits for the writes in flight and ends the call."""
        with self._sending:
            with self._lock:
                if self._closed:
                    return
                self._closed = True
            with suppress(flight.FlightError, pa.ArrowException, OSError):
                self._writer.done_writing()
        self._receiver.join()
        with suppress(flight.FlightError, pa.ArrowException, OSError):
            self._writer.close()

    def _batch(self, data: Any) -> pa.RecordBatch:
        source = fit(open_source(data), self._schema)
        table = pa.Table.from_batches(source.batches, schema=source.schema)
        have, want = set(table.column_names), set(self._schema.names)
        if have != want or table.num_columns != len(want):
            raise InvalidError(
                f"the columns are {sorted(table.column_names)}, want {sorted(want)}",
                "a push has all columns of the view and no others",
            )
        table = table.select(self._schema.names)
        for field in table.schema:
            wanted = self._schema.field(field.name).type
            if field.type != wanted:
                raise InvalidError(f"column {field.name!r} is {field.type}, want {wanted}")
        if table.num_rows == 0:
            raise InvalidError("there are no rows to push")
        chunks = table.cast(self._schema).combine_chunks().to_batches()
        return chunks[0]

    def _receive(self) -> None:
        error: DriftlineError = UnavailableError(
            "the server ended the stream of pushes",
            "open another pusher, and send the rows again with the same idempotency key",
        )
        try:
            while (answer := self._reader.read()) is not None:
                self._answer(json.loads(answer.to_pybytes()))
        except (flight.FlightError, pa.ArrowException, OSError) as failure:
            error = self._translate(failure)
        with self._lock:
            self._over = error
            left, self._waiting = self._waiting, deque()
        for future in left:
            future.set_exception(error)

    def _answer(self, body: dict[str, Any]) -> None:
        with self._lock:
            future = self._waiting.popleft()
        if "error" in body:
            future.set_exception(from_json(body["error"]))
        else:
            future.set_result(IngestResult.from_json(body["result"]))
