"""Runs flights.ipynb from top to bottom and keeps what it showed.

    python examples/flights/run_notebook.py OUT.ipynb OUT.html

It needs a running server (DRIFTLINE_SERVER, or http://127.0.0.1:8816). Pictures and the
drift report that the notebook writes go to the folder of OUT.html. The first cell that
fails ends the run with exit code 1; OUT.ipynb then shows how far it came.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert import HTMLExporter

SOURCE = Path(__file__).with_name("flights.ipynb")
CELL_SECONDS = 300


def main(arguments: list[str]) -> int:
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    notebook_path, page_path = (Path(a).resolve() for a in arguments)
    for path in (notebook_path, page_path):
        path.parent.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("DRIFTLINE_OUT", str(page_path.parent))
    # Threads of scikit-learn that wait for each other should sleep: on a busy machine
    # spinning takes the cores that the others need (3 s become 70).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

    notebook = nbformat.read(SOURCE, as_version=4)
    failure = run(notebook)
    nbformat.write(notebook, notebook_path)
    if failure is not None:
        print(f"\n{failure}\n{SOURCE.name} failed; see {notebook_path}", file=sys.stderr)
        return 1
    exporter = HTMLExporter(embed_images=True)
    page, _ = exporter.from_notebook_node(notebook, {"metadata": {"name": "Driftline · flights"}})
    page_path.write_text(page, encoding="utf-8")
    return 0


def run(notebook: nbformat.NotebookNode) -> CellExecutionError | None:
    """Executes all cells in place and says how long each took."""
    titles = section_titles(notebook)
    began = {}

    def before(cell: nbformat.NotebookNode, cell_index: int) -> None:
        began[cell_index] = time.monotonic()

    def after(cell: nbformat.NotebookNode, cell_index: int, execute_reply: dict) -> None:
        seconds = time.monotonic() - began[cell_index]
        mark = "✓" if execute_reply["content"]["status"] == "ok" else "✗"
        place = f"[{cell_index + 1:2}/{len(notebook.cells)}]"
        print(f"{place} {mark} {seconds:5.1f} s  {titles[cell_index]}", flush=True)

    client = NotebookClient(
        notebook,
        timeout=CELL_SECONDS,
        extra_arguments=["--log-level=ERROR"],
        resources={"metadata": {"path": str(SOURCE.parent)}},
        on_cell_execute=before,
        on_cell_executed=after,
    )
    try:
        client.execute()
    except CellExecutionError as error:
        return error
    return None


def section_titles(notebook: nbformat.NotebookNode) -> list[str]:
    """Returns, for each cell, the heading that it stands under."""
    titles, title = [], ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            headings = [line for line in cell.source.splitlines() if line.startswith("#")]
            title = headings[-1].lstrip("# ") if headings else title
        titles.append(title)
    return titles


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
