"""Has the real Apache Airflow 3 import and run what `driftline export airflow` writes.

    make airflow-check

Not part of the tests: Airflow is large, and wants a database. The pipeline here has what is easily
lost on the way: needs that follow from files, quotes, what Jinja would read, a retry, and a gate
that closes.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path

PIPELINE = """
kind: pipeline
name: sums
environment: {WHO: "{{ me }}"}
steps:
  - name: tell
    shell: |
      cat total
      echo "$WHO it's $DRIFTLINE_STEP" > told
    inputs: [total]
  - name: total
    shell: "[ -e again ] || { touch again; exit 1; }; awk '{s+=$1} END {print s}' parts > total"
    inputs: [parts]
    outputs: [total]
    retries: 1
    retry_delay: 100ms
  - name: parts
    command: [sh, -c, "grep -E '^[0-9]+$' raw.txt > parts"]
    inputs: [raw.txt]
    outputs: [parts]
  - {name: gate, shell: "exit 3", needs: [tell]}
  - {name: deploy, shell: "touch deployed", needs: [gate]}
"""


def load(path: Path):
    """Imports a file of Airflow's, as its scheduler does."""
    spec = importlib.util.spec_from_file_location("exported", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.dag


def main(binary: str) -> None:
    """Exports the pipeline with a driftline, and runs it with Airflow."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["AIRFLOW_HOME"] = str(folder / "airflow")
        os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
        os.environ["AIRFLOW__CORE__DAGS_FOLDER"] = str(folder / "dags")
        (folder / "pipeline.yaml").write_text(PIPELINE)
        (folder / "raw.txt").write_text("1\ntwo\n3\n")
        exported = folder / "dags" / "sums.py"
        exported.parent.mkdir()
        export = [binary, "export", "airflow", folder / "pipeline.yaml", "--out", exported]
        subprocess.run(export, check=True)
        for command in (["db", "migrate"], ["dags", "reserialize"]):
            subprocess.run([Path(sys.executable).with_name("airflow"), *command], check=True)

        import airflow

        dag = load(exported)
        edges = {(up, t.task_id) for t in dag.tasks for up in t.upstream_task_ids}
        wanted = {("parts", "total"), ("total", "tell"), ("tell", "gate"), ("gate", "deploy")}
        assert edges == wanted, edges
        run = dag.test()
        states = {t.task_id: str(t.state) for t in run.get_task_instances()}
        assert states == {
            "parts": "success",
            "total": "success",
            "tell": "success",
            "gate": "failed",
            "deploy": "upstream_failed",
        }, states
        assert str(run.state) == "failed", run.state
        assert (folder / "total").read_text() == "4\n"
        assert (folder / "told").read_text() == "{{ me }} it's tell\n"
        assert not (folder / "deployed").exists()
        print(f"Airflow {airflow.__version__} imports and runs the DAG: {states}")


if __name__ == "__main__":
    main(sys.argv[1])
