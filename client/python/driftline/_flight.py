"""Tables over Arrow Flight, with the server's errors as exceptions.

Commands are JSON. A call that sends rows and receives rows sends from a thread of
its own, because the server may answer before it has read everything, and stops
reading while nobody takes its answer.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pyarrow as pa
from pyarrow import flight

from driftline._progress import Progress
from driftline._tables import Source, split
from driftline.errors import (
    DeadlineError,
    DriftlineError,
    InternalError,
    UnavailableError,
    from_status,
)

# The metadata of the last message of an ingest. A stream also ends when its source
# fails, so the server takes no rows without it.
_END = b'{"end": true}'


class Flight:
    """Calls to one server's Flight address ("host:port")."""

    def __init__(self, address: str) -> None:
        self.uri = address if "://" in address else f"grpc://{address}"
        self._client = flight.FlightClient(self.uri)

    def put(self, command: dict[str, Any], source: Source, label: str) -> dict[str, Any]:
        """Sends rows and returns the JSON that the server answers after the last one."""
        with self._errors():
            writer, reader = self._client.do_put(
                _descriptor({**command, "marked": True}), source.schema
            )
            try:
                _write(writer, source, label)
                writer.write_metadata(_END)
                writer.done_writing()
                answer = reader.read()
            except BaseException:
                _close_quietly(writer)  # without the marker nothing is written
                raise
            writer.close()
        if answer is None:
            raise InternalError("the server took the rows and did not say what became of them")
        result: dict[str, Any] = json.loads(answer.to_pybytes())
        return result

    def open_push(self, view: str, schema: pa.Schema) -> tuple[Any, Any]:
        """Opens a stream of small writes: what sends them, and what receives answers."""
        with self._errors():
            writer, reader = self._client.do_put(_descriptor({"op": "push", "view": view}), schema)
        return writer, reader

    def open_exchange(self, command: dict[str, Any]) -> tuple[Any, Any]:
        """Opens a call that sends batches and receives batches: what does each."""
        with self._errors():
            writer, reader = self._client.do_exchange(_descriptor(command))
        return writer, reader

    def translate(self, error: Exception) -> DriftlineError:
        """Returns the server's error for one that pyarrow raised."""
        return error if isinstance(error, DriftlineError) else self._translate(error)

    def get(self, ticket: dict[str, Any]) -> pa.Table:
        """Returns the table that a ticket stands for."""
        with self._errors():
            return self._client.do_get(flight.Ticket(_encode(ticket))).read_all()

    def exchange(self, command: dict[str, Any], source: Source, label: str) -> Exchange:
        """Begins a call that sends rows and receives rows."""
        writer, reader = self.open_exchange(command)
        return Exchange(writer, reader, source, label, self._errors)

    def close(self) -> None:
        """Gives the connection back."""
        self._client.close()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (flight.FlightError, pa.ArrowException, OSError) as error:
            if isinstance(error, DriftlineError):
                raise
            raise self._translate(error) from None

    def _translate(self, error: Exception) -> DriftlineError:
        known = from_status(str(error))
        if known is not None:
            return known
        if isinstance(error, flight.FlightUnavailableError):
            return UnavailableError(
                f"there is no Driftline server at {self.uri}", "start one with: driftline serve"
            )
        if isinstance(error, flight.FlightTimedOutError):
            return DeadlineError(f"the server at {self.uri} did not answer in time")
        return InternalError(str(error).split(". Detail:")[0].split(". gRPC client debug")[0])


class Exchange:
    """Rows out and rows in at the same time.

    Iterate over ``batches`` once; ``metadata`` is the JSON that came with the last
    message, once the iteration has ended.
    """

    def __init__(
        self,
        writer: Any,
        reader: Any,
        source: Source,
        label: str,
        errors: Callable[[], Any],
    ) -> None:
        self.metadata: dict[str, Any] = {}
        self._writer = writer
        self._reader = reader
        self._source = source
        self._label = label
        self._errors = errors
        self._failure: BaseException | None = None
        self._sender = threading.Thread(target=self._send, daemon=True)
        self._sender.start()

    @property
    def schema(self) -> pa.Schema:
        """The schema of the answer; waits until the server has sent it."""
        with self._checked():
            return self._reader.schema

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yields the answer's batches that have rows."""
        finished = False
        try:
            with self._checked():
                while (chunk := self._next()) is not None:
                    if chunk.app_metadata is not None:
                        self.metadata = json.loads(chunk.app_metadata.to_pybytes())
                    if chunk.data is not None and chunk.data.num_rows:
                        yield chunk.data
                self._sender.join()
                if self._failure is not None:
                    raise self._failure
            finished = True
        finally:
            self._close(cancel=not finished)

    def table(self) -> pa.Table:
        """Returns the whole answer."""
        batches = list(self.batches())
        return pa.Table.from_batches(batches, schema=batches[0].schema if batches else self.schema)

    def _next(self) -> Any:
        try:
            return self._reader.read_chunk()
        except StopIteration:
            return None

    def _send(self) -> None:
        try:
            self._writer.begin(self._source.schema)
            _write(self._writer, self._source, self._label)
            self._writer.done_writing()
        except BaseException as error:
            self._failure = error
            if not isinstance(error, (flight.FlightError, pa.ArrowException, OSError)):
                self._reader.cancel()  # our own rows failed: the server need not wait for them

    @contextmanager
    def _checked(self) -> Iterator[None]:
        """Prefers an error of the caller's own rows to what the server made of it."""
        try:
            with self._errors():
                yield
        except DriftlineError as error:
            self._sender.join(timeout=5)
            failure = self._failure
            if failure is not None and not isinstance(
                failure, (flight.FlightError, pa.ArrowException, OSError)
            ):
                raise failure from None
            if isinstance(failure, DriftlineError):
                raise failure from None
            raise error

    def _close(self, cancel: bool) -> None:
        if cancel:
            self._reader.cancel()
        self._sender.join(timeout=5)
        _close_quietly(self._writer)


def _write(writer: Any, source: Source, label: str) -> None:
    with Progress(label, source.rows) as progress:
        for batch in source.batches:
            for part in split(batch):
                writer.write_batch(part)
                progress.add(part.num_rows)


def _close_quietly(writer: Any) -> None:
    # What went wrong is already on its way to the caller.
    with suppress(flight.FlightError, pa.ArrowException, OSError):
        writer.close()


def _descriptor(command: dict[str, Any]) -> flight.FlightDescriptor:
    return flight.FlightDescriptor.for_command(_encode(command))


def _encode(command: dict[str, Any]) -> bytes:
    return json.dumps(command).encode()
