"""``python -m driftline sync [FOLDER…]``: uploads runs that were logged without a server."""

from __future__ import annotations

import argparse
import sys

import driftline


def main() -> int:
    """Returns the exit code: 0 done, 1 failed."""
    parser = argparse.ArgumentParser(prog="python -m driftline", description=__doc__)
    commands = parser.add_subparsers(required=True)
    sync = commands.add_parser("sync", help="upload runs that were logged with mode='offline'")
    sync.add_argument("folders", nargs="*", help="of one run or of many; ./driftline-offline")
    sync.add_argument("--url", help="the server; DRIFTLINE_SERVER, or http://127.0.0.1:8816")
    asked = parser.parse_args()
    try:
        store = driftline.connect(asked.url) if asked.url else driftline.connect()
        ids = driftline.sync(*asked.folders, store=store)
    except driftline.DriftlineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for id in ids:
        print(f"uploaded {id}")
    if not ids:
        print("There is no run to upload.")
    return 0


sys.exit(main())
