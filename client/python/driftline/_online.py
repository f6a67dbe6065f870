"""Online reads over one open call."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any

import pyarrow as pa
from pyarrow import flight

from driftline._closing import Closing
from driftline._flight import Flight
from driftline._tables import fit, open_source, split
from driftline.errors import DriftlineError, InvalidError, UnavailableError
from driftline.retrieval import OnlineResponse


class OnlineStream(Closing):
    """Asks for the same features of many entities, one batch after the other.

    ``store.online_stream`` makes one. A read costs a fraction of what a call of
    ``get_online_features`` does. It can be used from several threads, whose reads are then
    under way together, and as a context manager.

    Example:
        >>> with store.online_stream("delay_model") as stream:
        ...     stream.get([{"origin": "JFK", "carrier": "B6", "tailnum": "N805JB"}]).to_dict()
    """

    def __init__(self, command: dict[str, Any], connection: Flight) -> None:
        self._translate = connection.translate
        self._writer, self._reader = connection.open_exchange(command)
        self._sending = threading.Lock()  # guards what follows
        self._schema: pa.Schema | None = None  # of the entities; the first read decides
        self._last = threading.Event()  # set once the read that was sent last has its answer
        self._last.set()
        self._over: Exception | None = None
        self._closed = False

    def get(self, entity_rows: Any) -> OnlineResponse:
        """Returns the newest features of some entities.

        After an error of the server the stream is over, and another one is needed.

        Args:
            entity_rows: The join keys, as a list of dicts or any other kind of table. All
                reads have the columns of the first one.

        Raises:
            InvalidError: If there are no rows, or other columns than before. This one
                leaves the stream as it was.
        """
        table = self._table(entity_rows)
        with self._sending:
            if self._closed:
                raise ValueError("the stream is closed")
            if self._over is not None:
                raise self._over
            self._send(table)
            before, answered = self._last, threading.Event()
            self._last = answered
        try:
            before.wait()
            return OnlineResponse(self._receive(table.num_rows))
        except BaseException as error:
            self._end(error)
            raise
        finally:
            answered.set()

    def close(self) -> None:
        """Waits for the reads under way and ends the call."""
        with self._sending:
            if self._closed:
                return
            self._closed = True
            with suppress(flight.FlightError, pa.ArrowException, OSError):
                self._writer.done_writing()
        self._last.wait()
        with suppress(flight.FlightError, pa.ArrowException, OSError):
            self._writer.close()

    def _table(self, entity_rows: Any) -> pa.Table:
        source = open_source(entity_rows)
        if self._schema is not None:
            source = fit(source, self._schema)
        table = pa.Table.from_batches(source.batches, schema=source.schema)
        if table.num_rows == 0:
            raise InvalidError("there are no entities to read", "send at least one row")
        return table

    def _send(self, table: pa.Table) -> None:
        if self._schema is None:
            self._schema = table.schema
            begin = True
        else:
            begin = False
            if set(table.column_names) != set(self._schema.names):
                raise InvalidError(
                    f"the columns are {table.column_names}, want {self._schema.names}",
                    "all reads of a stream have the columns of the first one",
                )
            table = table.select(self._schema.names)
            if not table.schema.equals(self._schema):
                raise InvalidError(
                    f"the columns are {_types(table.schema)}, want {_types(self._schema)}",
                    "all reads of a stream have the types of the first one",
                )
        # An error of sending ends the call, and who receives learns why.
        with suppress(flight.FlightError, pa.ArrowException, OSError):
            if begin:
                self._writer.begin(self._schema)
            for batch in table.combine_chunks().to_batches():
                for part in split(batch):
                    self._writer.write_batch(part)

    def _receive(self, rows: int) -> pa.Table:
        if self._over is not None:
            raise self._over
        batches: list[pa.RecordBatch] = []
        try:
            while rows > 0:
                chunk = self._reader.read_chunk().data
                if chunk is not None:
                    batches.append(chunk)
                    rows -= chunk.num_rows
        except StopIteration:
            raise UnavailableError(
                "the server ended the stream of online reads", "open another one"
            ) from None
        except (flight.FlightError, pa.ArrowException, OSError) as error:
            raise self._translate(error) from None
        return pa.Table.from_batches(batches)

    def _end(self, error: BaseException) -> None:
        """Leaves the stream without a use: answers could be taken for those of others."""
        if self._over is None:
            self._over = (
                error
                if isinstance(error, DriftlineError)
                else UnavailableError("a read of the stream was interrupted", "open another one")
            )
            self._reader.cancel()


def _types(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} {field.type}" for field in schema)
