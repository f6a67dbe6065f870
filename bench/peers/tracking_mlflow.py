"""MLflow's own server, on SQLite or PostgreSQL, with runs that are put into its database.

Its API would take half an hour for 100,000 runs, and is not what is measured by filling.
After filling the database's statistics are made, without which SQLite sorts for minutes.
"""

from __future__ import annotations

import getpass
import os
import pathlib
import signal
import subprocess
import sys
import time
import urllib.request
from typing import Any

import mlflow  # noqa: F401  so that it is missed where it is missing
import sqlalchemy as sa

START_SECONDS = 180
AT_ONCE = 2000


class Peer:
    modules = ("mlflow",)

    def __init__(self, config: dict[str, Any]):
        """Serve, and fill.

        Config is {"folder", "store": "sqlite" or "postgresql", "port", "store_port", "runs"}.
        """
        self.config = config
        self.folder = pathlib.Path(config["folder"])
        self.folder.mkdir()
        self.processes: list[subprocess.Popen] = []
        try:
            self.uri = self._start_store()
            self._serve()
            if config["runs"]:
                self._fill(config["runs"])
        except BaseException:
            self.close()
            raise

    def run(self, check: bool) -> None:
        raise NotImplementedError("ask the server by HTTP")

    def close(self) -> None:
        for process in reversed(self.processes):
            # At SIGTERM PostgreSQL waits until all have left, this process too; at SIGINT it ends.
            ends = signal.SIGINT if process.args[0].endswith("postgres") else signal.SIGTERM
            process.send_signal(ends)
            process.wait()

    def _start(self, name: str, *command: str, **more: Any) -> None:
        environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "HOME": str(self.folder)}
        with open(self.folder / f"{name}.log", "w") as log:
            process = subprocess.Popen(
                command, cwd=self.folder, env=environment, stdout=log, stderr=log, **more
            )
        self.processes.append(process)

    def _start_store(self) -> str:
        if self.config["store"] == "sqlite":
            return f"sqlite:///{self.folder}/mlflow.db"
        programs = postgres_programs()
        data = self.folder / "postgres"
        data.mkdir()
        more: dict[str, Any] = {}
        if getpass.getuser() == "root":  # which PostgreSQL refuses to be
            for folder in (self.folder.parent, self.folder):
                folder.chmod(0o755)
            os.chown(data, *nobody())
            more = dict(zip(("user", "group"), nobody(), strict=True))
        subprocess.run(
            [programs / "initdb", "-D", data, "-U", "mlflow", "-A", "trust", "-E", "UTF8"],
            check=True,
            capture_output=True,
            cwd="/",
            **more,
        )
        port = str(self.config["store_port"])
        options = ["-c", f"unix_socket_directories={data}", "-c", "listen_addresses=127.0.0.1"]
        self._start(
            "postgres", str(programs / "postgres"), "-D", str(data), "-p", port, *options, **more
        )
        uri = f"postgresql://mlflow@127.0.0.1:{port}/postgres"
        wait_for(lambda: sa.create_engine(uri).connect().close(), sa.exc.OperationalError)
        return uri

    def _serve(self) -> None:
        port = str(self.config["port"])
        self._start(
            "server",
            sys.executable,
            "-m",
            "mlflow",
            "server",
            "--backend-store-uri",
            self.uri,
            "--artifacts-destination",
            str(self.folder / "artifacts"),
            "--host",
            "127.0.0.1",
            "--port",
            port,
            "--workers",
            "1",
        )  # more workers were no faster on two cores
        address = f"http://127.0.0.1:{port}/health"
        wait_for(lambda: urllib.request.urlopen(address, timeout=5).close(), OSError)

    def _fill(self, runs: int) -> None:
        from mlflow.store.tracking.dbmodels import models as m

        engine = sa.create_engine(self.uri)
        for begin in range(0, runs, AT_ONCE):
            rows: dict[sa.Table, list[dict[str, Any]]] = {}
            for i in range(begin, min(begin + AT_ONCE, runs)):
                for table, row in run_rows(m, i):
                    rows.setdefault(table, []).append(row)
            with engine.begin() as connection:
                for table, some in rows.items():
                    connection.execute(sa.insert(table), some)
        with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            connection.execute(sa.text("ANALYZE"))
        engine.dispose()


def run_rows(m: Any, i: int):
    """The rows of run number i; filledRun of bench/tracking.go has the same."""
    run, at = f"{i:032x}", 1_600_000_000_000 + i
    name = f"r{i:06d}"
    yield (
        m.SqlRun.__table__,
        {
            "run_uuid": run,
            "name": name,
            "source_type": "UNKNOWN",
            "source_name": "",
            "entry_point_name": "",
            "user_id": "me",
            "status": "RUNNING",
            "start_time": at,
            "source_version": "",
            "lifecycle_stage": "active",
            "experiment_id": 0,
            "artifact_uri": f"mlflow-artifacts:/0/{run}/artifacts",
        },
    )
    yield m.SqlTag.__table__, {"run_uuid": run, "key": "mlflow.runName", "value": name}
    for j in range(10):
        value = (i * 7919 + j * 104_729) % 1_000_003 / 1_000_003
        metric = {
            "run_uuid": run,
            "key": f"m{j}",
            "value": value,
            "timestamp": at,
            "step": j,
            "is_nan": False,
        }
        yield m.SqlMetric.__table__, metric
        yield m.SqlLatestMetric.__table__, metric
        yield (
            m.SqlParam.__table__,
            {"run_uuid": run, "key": f"p{j}", "value": str((i * 31 + j) % 100)},
        )
    for j in range(5):
        yield (
            m.SqlTag.__table__,
            {"run_uuid": run, "key": f"t{j}", "value": f"v{(i * 17 + j) % 1000}"},
        )


def postgres_programs() -> pathlib.Path:
    """Where PostgreSQL's programs are; Debian keeps them out of PATH."""
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        raise ModuleNotFoundError(
            "PostgreSQL is not installed", name="PostgreSQL (apt-get install postgresql)"
        )
    return found[-1].parent


def nobody() -> tuple[int, int]:
    import pwd

    user = pwd.getpwnam("nobody")
    return user.pw_uid, user.pw_gid


def wait_for(attempt: Any, *failures: type[Exception]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            return attempt()
        except failures:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
