"""Reads `go test -json` on standard input: prints each package's outcome and the output of
what failed, and writes the counts of tests and the names of the failed ones to the file given."""

import collections
import json
import sys


def main(report: str) -> None:
    counts = collections.Counter()
    failed = []
    output = collections.defaultdict(list)
    for line in sys.stdin:
        try:
            event = json.loads(line)
        except json.JSONDecodeError:
            print(line, end="")  # a build failure is plain text
            continue
        package, test = event.get("Package"), event.get("Test")
        action = event["Action"]
        if action in ("output", "build-output"):
            output[package, test].append(event["Output"])
        elif action == "build-fail":
            print("".join(output.pop((package, test), [])), end="")
        elif action in ("pass", "fail", "skip"):
            if test:
                counts[action] += 1
            else:
                print(f"{action:5} {package} ({event.get('Elapsed', 0):.1f}s)", flush=True)
            # A package that does not build, or dies, fails without a test that does.
            named = not test and any(name.startswith(f"{package}: ") for name in failed)
            if action == "fail" and not named:
                failed.append(f"{package}: {test or 'the package'}")
            if action == "fail" or (action == "skip" and test):
                print("".join(output.pop((package, test), [])), end="")
            output.pop((package, test), None)
    with open(report, "w") as f:
        json.dump({"counts": counts, "failed": failed}, f)


main(sys.argv[1])
