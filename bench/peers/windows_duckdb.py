"""Aggregates of one account over a window, by DuckDB in this process, over rows in its order."""

import time

import duckdb
import pyarrow as pa
from protocol import Measured


class Peer:
    modules = ("duckdb",)

    def __init__(self, config):
        self.asked, self.percentile = config["asked"], config["percentile"]
        self.connection = duckdb.connect()
        self.connection.execute("SET TimeZone = 'UTC'")
        self.connection.execute(
            "CREATE TABLE events AS"
            " SELECT account, epoch_us(event_timestamp) AS event, amount, items"
            f" FROM read_parquet('{config['rows']}') ORDER BY account, event"
        )
        self.query = (
            f"SELECT {config['columns']} FROM events"
            f" WHERE account = $1 AND event > $2 - {config['window']} AND event <= $2"
        )

    def run(self, check):
        took, tables = [], []
        for account, at in self.asked:
            start = time.perf_counter()
            answer = self.connection.execute(self.query, [account, at]).to_arrow_table()
            took.append(time.perf_counter() - start)
            tables.append(answer)
        took.sort()
        rank = max(1, (len(took) * self.percentile + 99) // 100)
        return Measured(took[rank - 1] * 1000, table=pa.concat_tables(tables) if check else None)
