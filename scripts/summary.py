"""Names the Go and Python tests that failed, and adds up the counts of all in one line."""

import json
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

LAST_LINES = 60  # of the log of tests that ended before they could report


def main(go_report: str, *junit: str) -> None:
    with open(go_report) as f:
        go = json.load(f)
    counts, failed = go["counts"], go["failed"]
    total = {"passed": counts.get("pass", 0), "skipped": counts.get("skip", 0)}
    for report in junit:
        died = Path(report).with_suffix(".died.log")
        if died.exists():
            print(f"DIED and ran again: the process of {report}")
            print(*last_lines(died), sep="\n")
        try:
            suite = ET.parse(report).getroot().find("testsuite")
        except (OSError, ET.ParseError) as err:
            failed.append(f"{report}: its tests ended before they could report ({err})")
            print(*last_lines(Path(report).with_suffix(".log")), sep="\n")
            continue
        cases = suite.findall("testcase")
        broken = [c for c in cases if c.find("failure") is not None or c.find("error") is not None]
        skipped = sum(c.find("skipped") is not None for c in cases)
        failed += [f"{c.get('classname')}: {c.get('name')}" for c in broken]
        total["skipped"] += skipped
        total["passed"] += len(cases) - len(broken) - skipped
    for name in failed:
        print("FAILED", name)
    print(f"{total['passed']} passed, {len(failed)} failed, {total['skipped']} skipped")


def last_lines(log: Path) -> list[str]:
    """What tests that wrote no report have said last."""
    if not log.exists():
        return [f"there is no {log}"]
    lines = log.read_text(errors="replace").splitlines()
    return [f"--- the end of {log}", *lines[-LAST_LINES:], f"--- of {log}"]


main(*sys.argv[1:])
