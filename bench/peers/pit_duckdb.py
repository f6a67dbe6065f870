"""Point-in-time joins by DuckDB's ASOF JOIN over plain Parquet, written by hand.

There is more than one way to write one. The peer tries each and keeps the fastest:

wide      the whole rows of the features take part in the join
filtered  the same, after entities that the spine does not have are left out
narrow    only keys, times and row numbers take part; a second join fetches the features
gather    the same, but pyarrow reads the features and takes the rows by their numbers
"""

from __future__ import annotations

import math
import time
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from protocol import Measured


class Peer:
    modules = ("duckdb", "pyarrow")

    def __init__(self, config: dict[str, Any]):
        self.config = config
        self.entity, self.time = config["entity"], config["time"]
        self.views = config["views"]
        self.connection = duckdb.connect()
        self.connection.execute("SET TimeZone = 'UTC'")
        self.connection.execute("SET preserve_insertion_order = false")
        self.connection.execute("SET memory_limit = '12GB'")
        self.connection.execute(f"SET temp_directory = '{config['folder']}/duckdb'")
        self.connection.register("spine", pq.read_table(config["spine"]))
        forms = config["forms"] or ["wide", "filtered", "narrow", "gather"]
        self.form = getattr(self, forms[0])
        if len(forms) > 1:
            self.form = min((getattr(self, name) for name in forms), key=self._seconds)

    def run(self, check: bool) -> Measured:
        start = time.perf_counter()
        table = self.form()
        return Measured(time.perf_counter() - start, table=table)

    def _seconds(self, form):
        """The last of the tries, so that all but the first find the file in memory."""
        self.form = form
        try:
            return [self.run(check=False).value for _ in range(self.config["tries"])][-1]
        except duckdb.OutOfMemoryException:
            return math.inf

    def wide(self, where: str = "") -> pa.Table:
        features = [
            f"{self._living(i, f'v{i}.{name}')} AS {name}"
            for i, view in enumerate(self.views)
            for name in view["features"]
        ]
        return self._query(f"SELECT s.*, {', '.join(features)} {self._join('*', where)}")

    def filtered(self) -> pa.Table:
        return self.wide(f"WHERE {self.entity} IN (SELECT {self.entity} FROM spine)")

    def narrow(self) -> pa.Table:
        joins = [
            f"LEFT JOIN read_parquet('{view['path']}', file_row_number = true) f{i} "
            f"ON m.row{i} = f{i}.file_row_number"
            for i, view in enumerate(self.views)
        ]
        features = [f"f{i}.{n}" for i, view in enumerate(self.views) for n in view["features"]]
        return self._query(
            f"WITH matched AS ({self._matched()}) "
            f"SELECT m.{self.entity}, m.{self.time}, m.label, {', '.join(features)} "
            f"FROM matched m {' '.join(joins)}"
        )

    def gather(self) -> pa.Table:
        table = self._query(self._matched())
        for i, view in enumerate(self.views):
            rows = table.column(f"row{i}")
            found = pq.read_table(view["path"], columns=view["features"]).take(rows)
            for name in view["features"]:
                table = table.append_column(name, found.column(name))
        return table.drop_columns([f"row{i}" for i in range(len(self.views))])

    def _query(self, text: str) -> pa.Table:
        return self.connection.sql(text).to_arrow_table()

    def _matched(self) -> str:
        """The spine with, for each view, the number of the row that is joined."""
        rows = [self._living(i, f"v{i}.file_row_number") + f" AS row{i}" for i in self._numbers()]
        created = ", created" if self.views[0]["created"] else ""
        source = f"{self.entity}, {self.time}{created}, file_row_number"
        return f"SELECT s.*, {', '.join(rows)} {self._join(source)}"

    def _numbers(self) -> range:
        return range(len(self.views))

    def _join(self, columns: str, where: str = "") -> str:
        text = "FROM spine s"
        for i, view in enumerate(self.views):
            text += (
                f" ASOF LEFT JOIN ({self._source(view, columns, where)}) v{i}"
                f" ON s.{self.entity} = v{i}.{self.entity} AND s.{self.time} >= v{i}.visible"
            )
        return text

    def _source(self, view: dict[str, Any], columns: str, where: str) -> str:
        """The rows that can be an answer, each with the time from which on it is one."""
        numbered = f"read_parquet('{view['path']}', file_row_number = true) {where}"
        window = f"(PARTITION BY {self.entity} ORDER BY {self.time}, created"
        if not view["created"]:
            return f"SELECT {columns}, {self.time} AS visible FROM {numbered}"
        if not self.config["known_at"]:
            return (
                f"SELECT {columns}, {self.time} AS visible FROM {numbered} QUALIFY "
                f"lead({self.time}) OVER {window}) IS DISTINCT FROM {self.time}"
            )
        # A row that becomes visible after one that supersedes it is never an answer.
        visible = f"greatest({self.time}, created)"
        later = f"min({visible}) OVER {window} ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING)"
        return (
            f"SELECT {columns}, {visible} AS visible FROM {numbered} "
            f"QUALIFY coalesce({later} > {visible}, true)"
        )

    def _living(self, i: int, value: str) -> str:
        """The value, or null if its row has outlived the TTL."""
        ttl = self.views[i]["ttl_seconds"]
        if not ttl:
            return value
        return (
            f"CASE WHEN v{i}.{self.time} >= s.{self.time} - INTERVAL {ttl} SECOND THEN {value} END"
        )
