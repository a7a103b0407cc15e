"""One process, shards and a Dask cluster do the same photographs: are the bytes the same, how fast?

    python examples/scale/photographs.py equal photos/ 5000
    python examples/scale/photographs.py rate photos/ 4000

Needs some thousand photographs and aetool[distributed]. `equal` encodes and colours the first ones
in one process, in two shards, on two worker processes, and on two of which one is killed half-way,
and compares every byte. `rate` does the same pictures with Dask and without, in turn, and takes off
what either needs to start: the time for a single picture.

All processes of one machine use as many threads, so nothing has to be set; where machines differ,
TF_NUM_INTRAOP_THREADS=N for each of them does it.
"""

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from distributed import LocalCluster

from aetool.tasks.colorize import colorize_images
from aetool.tasks.encode import encode_images

ROUNDS = 3


def aetool(*words: object) -> float:
    """Run a command in a process of its own; its seconds."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "aetool", *map(str, words), "--quiet"], check=True)
    return time.perf_counter() - started


def say(*words: object) -> None:
    print(*words, flush=True)


@contextmanager
def workers(count: int) -> Iterator[LocalCluster]:
    with LocalCluster(
        n_workers=count, threads_per_worker=2, processes=True, dashboard_address=None
    ) as cluster:
        cluster.wait_for_workers(count)
        yield cluster


def first(folder: Path, count: int, to: Path) -> str:
    """The SOURCE of the first photographs of a folder."""
    found = sorted(path.resolve() for path in folder.rglob("*") if path.is_file())[:count]
    to.write_text("".join(f"{path}\n" for path in found))
    return f"@{to}"


def killing(cluster: LocalCluster) -> Callable[[int, int], None]:
    """Progress that kills a worker half-way."""
    victims = [cluster.workers[0].process.process.pid]

    def progress(done: int, total: int) -> None:
        if 2 * done >= total and victims:
            os.kill(victims.pop(), signal.SIGKILL)
            say(f"  killed a worker after {done} of {total}")

    return progress


def contents(path: Path) -> dict[Path, bytes]:
    """The bytes of a file, or of every file in a folder."""
    if path.is_file():
        return {Path(): path.read_bytes()}
    return {p.relative_to(path): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def compare(name: str, expected: Path, found: Path, seconds: float) -> None:
    one, other = contents(expected), contents(found)
    same = "the same" if one == other else "NOT THE SAME"
    total = sum(map(len, other.values()))
    say(f"  {name}: {seconds:.0f} s, {len(other)} files, {total:,} bytes, {same}")


def equal(source: str, model: Path, folder: Path) -> None:
    say("encode")
    words = ("encode", source, "-c", model, "-o")
    one, whole = folder / "one.h5", folder / "whole.h5"
    say(f"  one process: {aetool(*words, one):.0f} s")
    parts = [folder / f"part-{number}.h5" for number in (1, 2)]
    seconds = sum(aetool(*words, part, "--shard", f"{n}/2") for n, part in enumerate(parts, 1))
    compare("two shards", one, whole, seconds + aetool("merge", *parts, "-o", whole))
    with workers(2) as cluster:
        there, killed = folder / "there.h5", folder / "killed.h5"
        address = cluster.scheduler_address
        compare("two workers", one, there, aetool(*words, there, "--scheduler", address))
        started = time.perf_counter()
        encode_images(source, killed, model, scheduler=address, progress=killing(cluster))
        compare("one killed", one, killed, time.perf_counter() - started)

    say("colorize")
    one, shards = folder / "one", folder / "shards"
    say(f"  one process: {aetool('colorize', source, one):.0f} s")
    seconds = sum(aetool("colorize", source, shards, "--shard", f"{n}/2") for n in (1, 2))
    compare("two shards", one, shards, seconds)
    with workers(2) as cluster:
        there, killed = folder / "there", folder / "killed"
        address = cluster.scheduler_address
        seconds = aetool("colorize", source, there, "--scheduler", address)
        compare("two workers", one, there, seconds)
        started = time.perf_counter()
        colorize_images(source, killed, scheduler=address, progress=killing(cluster))
        compare("one killed", one, killed, time.perf_counter() - started)


def once(words: list[object], *, there: bool) -> float:
    """The seconds of a command, here or on a worker that has done nothing yet."""
    if not there:
        return aetool(*words)
    with workers(1) as cluster:
        return aetool(*words, "--scheduler", cluster.scheduler_address)


def rate(source: str, single: str, count: int, model: Path, folder: Path) -> None:
    """Pictures a second after the start, in turn with Dask and without."""
    commands = {
        "encode": ("encode", "@", "-c", model, "-o", folder / "latents.h5"),
        "colorize": ("colorize", "@", folder / "color", "--overwrite"),
    }
    for name, words in commands.items():
        ratios = {"rate": [], "whole run": []}
        for _ in range(ROUNDS):
            rates, wholes = [], []
            for there in (False, True):
                few, many = (
                    once([text if word == "@" else word for word in words], there=there)
                    for text in (single, source)
                )
                rates.append((count - 1) / (many - few))
                wholes.append(count / many)
                place = "Dask" if there else "here"
                say(f"  {name}, {place}: {few:.1f} s to start, {rates[-1]:.1f} pictures a second")
            ratios["rate"].append(rates[1] / rates[0])
            ratios["whole run"].append(wholes[1] / wholes[0])
        for what, values in ratios.items():
            listed = ", ".join(f"{value:.3f}" for value in sorted(values))
            say(f"{name}, {what}, Dask over here: {statistics.median(values):.3f} ({listed})")


def main(what: str, photographs: str, count: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = first(Path(photographs), int(count), folder / "list.txt")
        few = first(Path(photographs), 100, folder / "few.txt")
        model = folder / "model.h5"
        aetool("train", few, "-o", model, "--epochs", 0, "--size", 96)
        if what == "equal":
            equal(source, model, folder)
        else:
            single = first(Path(photographs), 1, folder / "single.txt")
            rate(source, single, int(count), model, folder)


if __name__ == "__main__":
    if len(sys.argv) != 4 or sys.argv[1] not in ("equal", "rate"):
        sys.exit(__doc__)
    main(*sys.argv[1:])
