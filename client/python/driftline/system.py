"""Measures of the machine and of this process, under the names that MLflow gives them.

They come from Linux's ``/proc``, and of NVIDIA's GPUs from ``nvidia-smi`` where it is
installed; what a machine does not say is left out.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from pathlib import Path

_PROC = Path("/proc")
_MB = 1e6


class Machine:
    """Measures since the last call, so that shares of time are of the span between two."""

    def __init__(self) -> None:
        self._gpu = shutil.which("nvidia-smi")
        self._last = self._counters()

    def measure(self) -> dict[str, float]:
        """Returns what can be measured now, by name."""
        now, last = self._counters(), self._last
        self._last = now
        span = max(now["time"] - last["time"], 1e-9)
        found: dict[str, float] = {}
        busy, total = now.get("busy"), now.get("total")
        if busy is not None and total is not None and total > last.get("total", total):
            share = (busy - last["busy"]) / (total - last["total"])
            found["cpu_utilization_percentage"] = 100 * share
        found["process_cpu_percentage"] = 100 * (now["process"] - last["process"]) / span
        for name in ("network_receive_megabytes", "network_transmit_megabytes"):
            if name in now and name in last:
                found[name] = now[name] - last[name]
        found |= _memory() | _disk()
        if self._gpu:
            found |= _gpus(self._gpu)
        return found

    @staticmethod
    def _counters() -> dict[str, float]:
        used = os.times()
        counters = {"time": time.monotonic(), "process": used.user + used.system}
        with contextlib.suppress(OSError, ValueError, IndexError):
            ticks = [int(word) for word in _first_line("stat").split()[1:9]]
            counters["total"] = sum(ticks)
            counters["busy"] = sum(ticks) - ticks[3] - ticks[4]  # idle, and waiting for a disk
        with contextlib.suppress(OSError, ValueError, IndexError):
            received = sent = 0
            for line in (_PROC / "net/dev").read_text().splitlines()[2:]:
                name, _, rest = line.partition(":")
                if name.strip() != "lo":
                    words = rest.split()
                    received, sent = received + int(words[0]), sent + int(words[8])
            counters["network_receive_megabytes"] = received / _MB
            counters["network_transmit_megabytes"] = sent / _MB
        return counters


def _first_line(name: str) -> str:
    with (_PROC / name).open() as file:
        return file.readline()


def _memory() -> dict[str, float]:
    with contextlib.suppress(OSError, ValueError, KeyError):
        sizes = {}
        for line in (_PROC / "meminfo").read_text().splitlines():
            name, _, size = line.partition(":")
            sizes[name] = 1024 * int(size.split()[0])
        total, free = sizes["MemTotal"], sizes["MemAvailable"]
        resident = int((_PROC / "self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        return {
            "system_memory_usage_megabytes": (total - free) / _MB,
            "system_memory_usage_percentage": 100 * (total - free) / total,
            "process_memory_megabytes": resident / _MB,
        }
    return {}


def _disk() -> dict[str, float]:
    with contextlib.suppress(OSError):
        usage = shutil.disk_usage(".")
        return {
            "disk_usage_megabytes": usage.used / _MB,
            "disk_usage_percentage": 100 * usage.used / usage.total,
            "disk_available_megabytes": usage.free / _MB,
        }
    return {}


def _gpus(program: str) -> dict[str, float]:
    query = "index,utilization.gpu,memory.used,memory.total,power.draw"
    command = [program, f"--query-gpu={query}", "--format=csv,noheader,nounits"]
    found: dict[str, float] = {}
    with contextlib.suppress(OSError, ValueError, subprocess.SubprocessError):
        answer = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
        for line in answer.stdout.splitlines():
            index, busy, used, total, watts = (word.strip() for word in line.split(","))
            name = f"gpu_{index}_"
            found[name + "utilization_percentage"] = float(busy)
            found[name + "memory_usage_megabytes"] = float(used) * 1.048576
            found[name + "memory_usage_percentage"] = 100 * float(used) / float(total)
            with contextlib.suppress(ValueError):  # some do not say
                found[name + "power_usage_watts"] = float(watts)
    return found
