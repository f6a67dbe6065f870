"""Runs the whole story on the flights of 2013: a fresh server, definitions, ingest,
a training set, a model, online reads, drift, monitors and lineage, time travel and a rebuild;
and then the loop: five months in which the model serves, drifts, learns again and is replaced.

    python examples/flights/demo.py --bin bin/driftline --out build/demo

Everything it makes is under --out. The server runs on free ports while the demo does.
"""

import argparse
import os
import pathlib
import shutil
import sys
import time

from server import Server, relative, run
from words import in_words

HERE = pathlib.Path(__file__).parent
sys.path.append(str(HERE.parent / "loop"))

from loop import live  # noqa: E402

MONITORS = HERE.parent / "monitors"
NARROW = 72
MONITOR_SECONDS = 120

AS_REPORTED = """SELECT created, temp FROM features.weather AT (VERSION => 'as_reported')
    WHERE origin = 'JFK' AND event_timestamp = TIMESTAMPTZ '2013-05-09 02:00:00Z'"""
IN_SQL = """SELECT origin, count(*) AS flights, round(avg(visib), 2) AS miles_seen
    FROM point_in_time(
        (SELECT origin, scheduled_departure FROM datasets.late_departure),
        features => ['weather:visib'], event_timestamp => 'scheduled_departure', known_at => true)
    GROUP BY origin ORDER BY origin"""

# Every column that a monitor compared in 2013, with what it found.
FOUND = """SELECT strftime(pane_start, '%Y-%m') AS month, pane_start, monitor, "column", verdict,
           effect, details
    FROM meta.drift_results WHERE year(pane_start) = 2013 AND segment IS NULL
    ORDER BY pane_start, effect DESC"""
EPISODES = """SELECT id, severity, strftime(from_ts, '%Y-%m') AS since, panes AS months, state
    FROM meta.alerts WHERE year(from_ts) = 2013 ORDER BY from_ts, id"""


def main() -> int:
    args = parse_args()
    out = args.out.resolve()
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    started = time.monotonic()
    with Server(args.bin.resolve(), out) as server:
        headline("1. A server in a fresh folder")
        print(server.banner)

        headline("2. Definitions: entities, feature views, a feature service")
        server.cli("plan", str(HERE))
        server.cli("apply", str(HERE))
        print("applied again:")
        server.cli("apply", str(HERE))

        headline("3. The notebook: ingest, training set, time travel, model, online, drift")
        notebook = out / "flights.ipynb"
        page = out / "flights.html"
        run(
            [sys.executable, HERE / "run_notebook.py", notebook, page],
            env=os.environ | {"DRIFTLINE_SERVER": server.url, "DRIFTLINE_OUT": str(out)},
        )

        headline("4. The same drift question from the command line, with an exit code for CI")
        report = out / "drift.html"
        months = "SELECT * FROM features.weather WHERE month(event_timestamp) BETWEEN {} AND {}"
        status = server.cli(
            "drift",
            "--reference",
            months.format(1, 3),
            "--current",
            months.format(6, 8),
            "--html",
            str(report),
            expect=(0, 3),
        )
        print(f"exit code {status}: {'drift was found' if status == 3 else 'no drift'}")

        headline("5. 2013 month by month: two monitors compare each with January to March")
        monitor(server, out)

        headline("6. After a correction: the row as reported, and the training set made again")
        server.cli("sql", AS_REPORTED)
        server.cli("dataset", "rebuild", "late_departure@1")

        headline("7. A training set in pure SQL, grouped by airport")
        server.cli("sql", IN_SQL)

        headline("8. Do training and serving agree? Sampled in both stores, value by value")
        server.cli("check")

        headline("9. Where does the model come from?")
        server.cli("lineage", "model/late_departure@1")

        counted = count(server)

    headline("10. The loop: the model serves from April to August, in minutes")
    print("A second server goes through the past: driftline serve --replay. Days pass as fast as")
    print("they can be lived through; dates on the left are those of its clock.\n", flush=True)
    live(args.bin.resolve(), out / "loop")

    headline("11. What there is now")
    summary(counted, out, started)
    return 0


def monitor(server: "Server", out: pathlib.Path) -> None:
    """Lets the monitors catch up with 2013 and says which months were how different."""
    server.cli("apply", str(MONITORS))
    print("the months since their start are over, so the server evaluates each now", flush=True)
    names = ("weather_monthly", "departures_monthly")
    wait_for_panes(server, len(names) * 12)
    for name in names:  # the year is over
        server.output("monitor", "pause", name)
    found = server.rows(FOUND)
    print(f"\n{'month':7}  {'drifted':8}  what is different from January to March")
    for month in sorted({row["month"] for row in found}):
        of_month = [row for row in found if row["month"] == month and row["effect"] is not None]
        drifted = [row for row in of_month if row["verdict"] == "drift"]
        words = ", ".join(map(in_words, drifted[:4])) or "nothing that matters"
        print(f"{month:7}  {len(drifted)} of {len(of_month):<3}  {words}")
    print()
    server.cli("sql", EPISODES)
    print("nobody was told: these months were over before the monitors were there. Notices of")
    print(f"the months to come go to {relative(out / 'notices.jsonl')}, as --channels says.")
    most = most_drifted(found)
    server.cli(
        *("monitor", "show", most["monitor"], "--pane", most["pane_start"]),
        *("--html", str(out / "most_drifted_month.html")),
    )


def wait_for_panes(server: "Server", count: int) -> None:
    until = time.monotonic() + MONITOR_SECONDS
    seen = "SELECT count(*) AS n FROM meta.monitor_panes WHERE year(pane_start) = 2013"
    while server.rows(seen)[0]["n"] < count:
        if time.monotonic() > until:
            raise SystemExit(f"2013 was not evaluated within {MONITOR_SECONDS} s")
        time.sleep(0.2)


def most_drifted(found: list[dict]) -> dict:
    """Returns a row of the pane of which most columns drifted, and those the most."""
    panes: dict[tuple, list[dict]] = {}
    for row in found:
        panes.setdefault((row["monitor"], row["pane_start"]), []).append(row)
    return max(
        panes.values(),
        key=lambda rows: [
            sum(row["verdict"] == "drift" for row in rows),
            sum(row["effect"] or 0 for row in rows),
        ],
    )[0]


def count(server: Server) -> dict:
    """Returns how much the first server has."""
    return server.rows(
        """SELECT (SELECT count(*) FROM features.weather) AS weather,
                      (SELECT count(*) FROM features.carrier_performance) AS landings,
                      (SELECT count(*) FROM features.departures) AS departures,
                      (SELECT count(*) FROM features.planes) AS planes,
                      (SELECT max(rows) FROM meta.datasets) AS training_rows,
                      (SELECT max(value) FROM meta.metrics WHERE key = 'auc') AS auc"""
    )[0]


def summary(counted: dict, out: pathlib.Path, started: float) -> None:
    """Says how much there is, and what to open next."""
    rows = sum(counted[view] for view in ("weather", "landings", "departures", "planes"))
    auc = counted["auc"]
    print(f"feature rows      {rows:>12,}")
    print(f"training set      {counted['training_rows']:>12,} rows")
    print(f"model             {'AUC ' + format(auc, '.3f') if auc else '':>12}")
    print(f"whole demo        {time.monotonic() - started:>11.0f}s")
    print()
    print(f"notebook          {relative(out / 'flights.html')}")
    print(f"drift report      {relative(out / 'drift.html')}")
    print(f"month of most     {relative(out / 'most_drifted_month.html')}")
    print(f"who was told      {relative(out / 'loop' / 'notices.jsonl')}")
    print()
    print("next: `make run-loop`, then open")
    print("  http://127.0.0.1:8816/models/late_departure/timeline        all that happened to it")
    print(
        "  http://127.0.0.1:8816/models/late_departure                 versions, gates, who serves"
    )
    print(
        "  http://127.0.0.1:8816/rollouts                              the canaries, with verdicts"
    )
    print(
        "  http://127.0.0.1:8816/monitors/late_served                  what drifted, week by week"
    )
    print(
        "  http://127.0.0.1:8816/lineage?ref=model/late_departure@2    what the new one is made of"
    )
    print("or `make run`, for what came before")
    print("  http://127.0.0.1:8816/                                      the catalogue")
    print("  http://127.0.0.1:8816/datasets/late_departure/1             the training set")
    print("and `bin/driftline sql` for a shell over all of it: \\d lists the tables")


def headline(text: str) -> None:
    print(
        f"\n\033[1m{text}\033[0m\n{'─' * NARROW}"
        if sys.stdout.isatty()
        else f"\n{text}\n{'─' * NARROW}",
        flush=True,
    )


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--bin", type=pathlib.Path, default=pathlib.Path("bin/driftline"))
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("build/demo"))
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
