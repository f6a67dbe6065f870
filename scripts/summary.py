"""Names the Go and Python tests that failed, and adds up the counts of all in one line."""

import json
import sys
import xml.etree.ElementTree as ET


def main(go_report: str, *junit: str) -> None:
    with open(go_report) as f:
        go = json.load(f)
    counts, failed = go["counts"], go["failed"]
    total = {"passed": counts.get("pass", 0), "skipped": counts.get("skip", 0)}
    for report in junit:
        try:
            suite = ET.parse(report).getroot().find("testsuite")
        except (OSError, ET.ParseError) as err:
            failed.append(f"{report}: its tests ended before they could report ({err})")
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


main(*sys.argv[1:])
