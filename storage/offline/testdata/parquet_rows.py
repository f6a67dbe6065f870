"""Writes what DuckDB reads in Parquet files, by field id: OUT, an Arrow file.

usage: parquet_rows.py OUT SCHEMA FILE...
"""

import sys

import duckdb
import pyarrow as pa

out, schema, *files = sys.argv[1:]
connection = duckdb.connect()
connection.execute("SET TimeZone = 'UTC'")
rows = connection.execute(f"FROM read_parquet({files!r}, schema = {schema})").to_arrow_table()
with pa.OSFile(out, "wb") as file, pa.ipc.new_file(file, rows.schema) as w:
    w.write_table(rows)
