"""A server for the examples, in a folder of its own, and its command line."""

import json
import os
import pathlib
import signal
import subprocess


class Server:
    """A `driftline serve` on free ports, stopped cleanly at the end."""

    def __init__(self, binary: pathlib.Path, out: pathlib.Path, *flags: str):
        self.binary, self.out, self.flags = binary, out, flags

    def __enter__(self) -> "Server":
        self.log = open(self.out / "server.log", "w")
        channels = self.out / "channels.yaml"
        notices = json.dumps(str(self.out / "notices.jsonl"))
        channels.write_text(f"channels:\n  ops: {{type: file, path: {notices}}}\n")
        command = [self.binary, "serve", "--data", self.out / "data", "--channels", channels]
        command += ["--http", "127.0.0.1:0", "--flight", "127.0.0.1:0"]
        command += self.flags
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, text=True)
        lines = []
        while not any("grpc://" in line for line in lines):
            line = self.process.stdout.readline()
            if not line:
                raise SystemExit(
                    f"the server did not start; see {relative(self.out / 'server.log')}"
                )
            lines.append(line.rstrip())
        self.banner = "\n".join(lines)
        self.url = next(word for word in self.banner.split() if word.startswith("http://"))
        return self

    def __exit__(self, *_) -> None:
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(timeout=60)
        self.log.close()
        if status != 0:
            raise SystemExit(f"the server stopped with exit code {status}")

    def cli(self, *words: str, expect: tuple[int, ...] = (0,)) -> int:
        shown = " ".join(f'"{w}"' if " " in w else w for w in map(short, words))
        print(f"$ driftline {shown}", flush=True)
        return run([self.binary, *words, "--server", self.url], expect=expect)

    def rows(self, sql: str) -> list[dict]:
        return json.loads(self.output("sql", "--json", sql))

    def output(self, *words: str) -> str:
        command = [self.binary, *words, "--server", self.url]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def run(command: list, env: dict | None = None, expect: tuple[int, ...] = (0,)) -> int:
    status = subprocess.run([str(c) for c in command], env=env).returncode
    if status not in expect:
        raise SystemExit(f"{pathlib.Path(command[0]).name} ended with exit code {status}")
    return status


def short(word: str) -> str:
    return relative(pathlib.Path(word)) if word.startswith("/") else word


def relative(path: pathlib.Path) -> str:
    return os.path.relpath(path)
