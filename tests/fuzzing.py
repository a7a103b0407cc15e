"""Mutated files, and a child process that hands them to the program one by one.

    python tests/fuzzing.py checkpoint FOLDER SEED FIRST LAST

mutates what lies in FOLDER/checkpoint, runs the program on each result in this process, and prints
a line of JSON about each: before it starts (so that whoever reads knows what a crash or a hang was
about) and when it is done. A crash, or a file that takes more than CPU_SECONDS, ends the process
with a traceback on standard error. Mutation N of a seed is always the same.
"""

import contextlib
import faulthandler
import hashlib
import io
import json
import os
import random
import resource
import signal
import sys
import time
import traceback
from pathlib import Path

import h5py

from aetool.cli.app import run
from aetool.cli.silence import silence_tensorflow
from aetool.storage.container import BLOCK_BYTES

# What no file can make the program do, whatever is in it.
FORBIDDEN = ("os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen",
             "pickle.find_class", "socket.connect", "ctypes.dlopen")  # fmt: skip
CPU_SECONDS = 4.0  # of a run; it takes a second where a network is built
MEMORY = 1 << 30  # what a run may take on top of what the process holds, in bytes
HOSTILE = (None, True, -1, 0, 1, 7, 10**6, 10**12, 2**63, 0.5, -1e308, 1e308, "", "x", "../../x",
           "x" * 1000, "\udcff\0\n", [], [[]], [0, 0], [-1, -1], [10**6, 10**6], {}, {"a": {}},
           ["x"] * 100, [1] * 1000)  # fmt: skip


def reseal(data: bytearray) -> bytearray:
    """The header's length and digest made right again over whatever follows it."""
    rest = bytes(data[BLOCK_BYTES:])
    kind = bytes(data[:BLOCK_BYTES]).partition(b"kind: ")[2].partition(b"\n")[0].decode()
    block = (
        f"aetool HDF5 container\nkind: {kind}\nformat: 1\n"
        f"length: {len(rest)}\nsha256: {hashlib.sha256(rest).hexdigest()}\n"
    )
    return bytearray(block.encode().ljust(BLOCK_BYTES, b"\0") + rest)


def change_bytes(data: bytearray, chance: random.Random, start: int) -> None:
    """A few bytes, a stretch of zeros, or a stretch copied elsewhere; mostly near the structure."""
    position = start + int((len(data) - start) * chance.random() ** 2)
    match chance.randrange(4):
        case 0 | 1:
            for _ in range(chance.randint(1, 8)):
                nearby = min(len(data) - 1, position + chance.randrange(256))
                data[nearby] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
        case 2:
            length = min(chance.randint(1, 64), len(data) - position)
            data[position : position + length] = bytes(length)
        case 3:
            length = chance.randint(1, 64)
            source = chance.randrange(start, len(data))
            data[position : position + length] = data[source : source + length]


def change_description(path: Path, chance: random.Random) -> None:
    """One value of the JSON document replaced by a hostile one, or taken away."""
    with h5py.File(path, "r+") as file:
        document = json.loads(file.attrs["aetool"])
        node, parent, key = document, None, None
        while isinstance(node, dict | list) and node and (parent is None or chance.random() < 0.8):
            key = chance.choice(list(node) if isinstance(node, dict) else range(len(node)))
            parent, node = node, node[key]
        if chance.random() < 0.2:
            del parent[key]
        else:
            parent[key] = chance.choice(HOSTILE)
        file.attrs["aetool"] = json.dumps(document)


def mutate(original: Path, path: Path, chance: random.Random) -> str:
    """Write a mutation of `original` to `path` and say of what kind it is."""
    sealed = original.read_bytes().startswith(b"aetool")
    kind = chance.choice(("raw", "resealed", "described")) if sealed else "raw"
    path.write_bytes(original.read_bytes())
    if kind == "described" and "checkpoint" in original.name:
        change_description(path, chance)
        path.write_bytes(reseal(bytearray(path.read_bytes())))
        return kind
    whole = path.read_bytes()
    data = bytearray(whole)
    while data == whole:
        for _ in range(chance.choice((1, 1, 2, 5))):
            change_bytes(data, chance, BLOCK_BYTES if sealed and kind != "raw" else 0)
    if chance.random() < 0.2:
        del data[chance.randrange(len(data)) :]
    if sealed and kind != "raw":
        kind, data = "resealed", reseal(data)
    path.write_bytes(data)
    return kind


def commands(what: str, path: Path, scratch: Path) -> list[list[str]]:
    """What a mutated file is given to, each only where the one before it took the file."""
    if what == "checkpoint":
        encoding = ["encode", str(scratch / "picture.png"), "-c", str(path)]
        return [["info", str(path)], [*encoding, "-o", str(scratch / "latents.h5")]]
    if what == "latents":
        table = ["-o", str(scratch / "table.csv")]
        return [["cluster", str(path), "-k", "2", *table]]
    return [["encode", str(path), "--pixels", "--size", "8", "-o", str(scratch / "latents.h5"),
             "--max-pixels", "1000000"]]  # fmt: skip


def run_quietly(words: list[str]) -> tuple[int, str]:
    """Exit status and standard error of one run of the program; a bug's traceback is in it."""
    stdout, stderr = io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), io.StringIO()
    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
        try:
            status = run([*words, "-q"] if words[0] != "info" else words)
        except Exception:
            status = 1
            traceback.print_exc()
    return status, stderr.getvalue()


def complaint(status: int, said: str, happened: list[str]) -> str | None:
    """What is wrong with an outcome: anything but success, or a line or two that say why not."""
    lines = said.splitlines()
    if happened:
        return f"it did {happened}"
    if "Traceback" in said or status not in (0, 1, 2):
        return f"status {status}: {said[-1500:]}"
    if status and not 1 <= len(lines) <= 2:
        return f"{len(lines)} lines: {said[:500]}"
    return None


def main(what: str, folder: Path, seed: str, first: int, last: int) -> None:
    silence_tensorflow()
    originals = sorted((folder / what).iterdir())
    scratch = folder / f"scratch-{os.getpid()}"
    scratch.mkdir()
    (scratch / "picture.png").write_bytes((folder / "picture.png").read_bytes())
    for original in originals:  # everything is imported before anything is watched
        for words in commands(what, original, scratch):
            assert run_quietly(words)[0] == 0, run_quietly(words)
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + MEMORY, held + MEMORY))
    faulthandler.enable()
    faulthandler.register(signal.SIGPROF, all_threads=False, chain=True)
    happened: list[str] = []
    sys.addaudithook(lambda event, _: happened.append(event) if event in FORBIDDEN else None)
    for number in range(first, last):
        chance = random.Random(f"{seed}-{what}-{number}")
        original = originals[number % len(originals)]
        path = scratch / f"{original.stem}-mutated{original.suffix}"
        kind = mutate(original, path, chance)
        print(json.dumps({"number": number, "kind": kind, "of": original.name}), flush=True)
        started = time.monotonic()
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
        # One in eight that is no wreck goes through a network as well: that takes longest.
        for words in commands(what, path, scratch)[: None if chance.random() < 1 / 8 else 1]:
            happened.clear()
            status, said = run_quietly(words)
            wrong = complaint(status, said, happened)
            if status or wrong:
                break
        signal.setitimer(signal.ITIMER_PROF, 0)
        done = {"number": number, "status": status, "said": said[-300:], "wrong": wrong}
        print(json.dumps(done | {"seconds": time.monotonic() - started}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
