"""The loop of examples/loop closes: a shorter story than the demo tells, with all that happens."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

from server_process import ROOT, binary

LOOP = ROOT / "examples" / "loop"
# What happens, in this order. Whoever reads the output follows the same.
STORY = [
    r"late_departure@1 learned from the [\d,]+ flights of January to March, and serves",
    r"the monitor raises late_served-1: warmer \(0\.\d+\)",
    r"the trigger summer fires: temp drifted in 3 windows",
    r"late_departure@2 is trained, and the gate is open: roc_auc is",
    r"late_departure@2 answers 5 % of the requests",
    r"late_departure@2 answers 50 % of the requests",
    r"late_departure@2 answers all of them",
    r"late_departure@2 is champion",
    r"ann rolls out late_departure@3, past the gate",
    r"late_departure@3 is taken back: worse by errors",
    r"late_departure@2 answers all again",
]


def test_the_loop_closes(tmp_path):
    environ = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "client" / "python"),
        "OMP_WAIT_POLICY": "PASSIVE",
    }
    command = [sys.executable, LOOP / "loop.py", "--bin", binary(), "--out", tmp_path, "--short"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout[-6000:]}\n{done.stderr[-3000:]}"
    told = re.sub(r"\s+", " ", done.stdout)
    at = 0
    for event in STORY:
        found = re.compile(event).search(told, at)
        assert found, f"{event} is not in what comes after {told[:at][-200:]}\n{done.stdout}"
        at = found.end()
    assert told.count("fires: ") == 1, "it is trained once"
    notices = [json.loads(line) for line in (tmp_path / "notices.jsonl").read_text().splitlines()]
    assert any("rolled_back" in json.dumps(notice) for notice in notices)
    traced = done.stdout[done.stdout.index("$ driftline why") :]
    assert "model/late_departure@2" in traced
    assert "dataset/late_live@2" in traced
