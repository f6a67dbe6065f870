"""Adds up the counts of the Go and Python tests in one line."""

import json
import sys
import xml.etree.ElementTree as ET


def main(go_report: str, *junit: str) -> None:
    with open(go_report) as f:
        counts = json.load(f)
    passed, failed, skipped = (counts.get(k, 0) for k in ("pass", "fail", "skip"))
    for report in junit:
        suite = ET.parse(report).getroot().find("testsuite").attrib
        broken = int(suite["failures"]) + int(suite["errors"])
        failed += broken
        skipped += int(suite["skipped"])
        passed += int(suite["tests"]) - broken - int(suite["skipped"])
    print(f"{passed} passed, {failed} failed, {skipped} skipped")


main(*sys.argv[1:])
