"""Writes what pyiceberg reads in a table: DIR/NAME.arrow for each NAME=SNAPSHOT, where
SNAPSHOT is an id, a tag, or "main".

usage: table_rows.py TABLE DIR NAME=SNAPSHOT...
"""

import sys

import pyarrow as pa
from pyiceberg.table import StaticTable

location, folder, *wanted = sys.argv[1:]
table = StaticTable.from_metadata(location)
for name, _, snapshot in (w.partition("=") for w in wanted):
    if snapshot == "main":
        scan = table.scan()
    elif snapshot in table.refs():
        scan = table.scan().use_ref(snapshot)
    else:
        scan = table.scan(snapshot_id=int(snapshot))
    rows = scan.to_arrow()
    with pa.OSFile(f"{folder}/{name}.arrow", "wb") as out, pa.ipc.new_file(out, rows.schema) as w:
        w.write_table(rows)
