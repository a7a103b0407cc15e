"""Contenders timed in turn, so that whatever else the machine does falls on all of them alike."""

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path


def rates(contenders: Mapping[str, Callable[[], int]], rounds: int = 5, seconds: float = 3.0):
    """Pictures (or whatever a call returns the number of) a second of each, medians over rounds.

    Every contender is called twice first. A round calls each for at least `seconds`.
    """
    for call in contenders.values():
        call()
        call()
    measured = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, call in contenders.items():
            started, done = time.perf_counter(), 0
            while time.perf_counter() - started < seconds or not done:
                done += call()
            measured[name].append(done / (time.perf_counter() - started))
    return {name: statistics.median(values) for name, values in measured.items()}


def at_once(predict: Callable, batch, calls: int) -> Callable[[], int]:
    """As aetool's stream has it: so many predictions of a batch under way at any time.

    What is returned does a few rounds of them and returns the number of pictures.
    """
    pool = ThreadPoolExecutor(calls)
    batches = [batch] * (4 * calls)

    def call() -> int:
        for _ in pool.map(predict, batches):
            pass
        return sum(map(len, batches))

    return call


def durations(contenders: Mapping[str, Callable[[], object]], rounds: int = 5):
    """Seconds a call of each, medians over rounds, in turn."""
    measured = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, call in contenders.items():
            started = time.perf_counter()
            call()
            measured[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in measured.items()}


# Linux counts to a program's peak what its parent held when starting it. So a small process starts
# it, and reports its peak in KiB and its seconds.
_LAUNCHER = """
import os, sys, time
started = time.perf_counter()
process = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(process, 0)
print(usage.ru_maxrss, time.perf_counter() - started)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def peak_memory(arguments: list[str]) -> tuple[int, float]:
    """Run a program that prints nothing: its peak resident memory in bytes, its seconds.

    Raises:
        CalledProcessError: it failed.
    """
    launch = [sys.executable, "-c", _LAUNCHER, *arguments]
    done = subprocess.run(launch, check=True, stdout=subprocess.PIPE, text=True)
    peak, seconds = done.stdout.split()
    return int(peak) * 1024, float(seconds)


def table(header: list[str], rows: list[list[object]]) -> str:
    """Markdown; floats to three digits."""
    lines = ["| " + " | ".join(header) + " |", "|---" * len(header) + "|"]
    for row in rows:
        cells = (f"{value:.3g}" if isinstance(value, float) else str(value) for value in row)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def machine() -> str:
    """The processor, its cores, and what it multiplies natively."""
    info = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    names = [line.partition(":")[2].strip() for line in info.splitlines() if "model name" in line]
    flags = [flag for flag in ("avx512f", "avx512_bf16", "amx_bf16") if flag in info]
    return (
        f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores, "
        f"{', '.join(flags) or 'no AVX-512'}, Python {platform.python_version()}"
    )
