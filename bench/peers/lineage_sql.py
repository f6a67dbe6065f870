"""The lineage of one node in a table of edges, by a recursive query of DuckDB or SQLite.

The library runs in this process, so unlike Driftline it pays for no network, and its nodes
are numbers of which nothing is told but the edges.
"""

import sqlite3
import time

import duckdb
import numpy as np
import pyarrow as pa
from protocol import Measured

WALK = """
WITH RECURSIVE up(node, depth) AS (
    SELECT ?, 0
    UNION
    SELECT e.parent, up.depth + 1 FROM up JOIN edges e ON e.child = up.node WHERE up.depth < ?
), reached AS (SELECT node, min(depth) AS depth FROM up GROUP BY node)
SELECT e.child, e.parent FROM reached r JOIN edges e ON e.child = r.node WHERE r.depth < ?
"""


class Peer:
    modules = ("duckdb",)

    def __init__(self, config):
        """Make the edges.

        Config is {"engine": "DuckDB" or "SQLite", "layers": {"wide", "hops", "inputs"}}, see
        layers in bench/tracking_lineage.go.
        """
        wide, hops = config["layers"]["wide"], config["layers"]["hops"]
        child = np.arange(wide, wide * (hops + 1))
        at = child % wide
        parents = [child - at - wide + (at + j) % wide for j in range(config["layers"]["inputs"])]
        edges = np.column_stack([np.tile(child, len(parents)), np.concatenate(parents)])
        self.arguments = (wide * hops + 7 % wide, hops, hops)
        if config["engine"] == "SQLite":
            self.connection = sqlite3.connect(":memory:")
            self.connection.execute("CREATE TABLE edges (child INTEGER, parent INTEGER)")
            self.connection.executemany("INSERT INTO edges VALUES (?, ?)", edges.tolist())
        else:
            self.connection = duckdb.connect()
            table = pa.table({"child": edges[:, 0], "parent": edges[:, 1]})
            self.connection.register("made", table)
            self.connection.execute("CREATE TABLE edges AS SELECT * FROM made")
        self.connection.execute("CREATE INDEX by_child ON edges (child)")

    def run(self, check):
        start = time.perf_counter()
        found = self.connection.execute(WALK, self.arguments).fetchall()
        took = 1000 * (time.perf_counter() - start)
        nodes = {node for edge in found for node in edge}
        total = sum(child * 1009 + parent for child, parent in found)
        return Measured(took, rows=len(found), numbers=[len(nodes), total])
