"""aetool beside its rivals, in one run on one machine: python tests/bench [PART ...]

Parts, in the order they run: startup, engine, stream, input, training, memory, latents. None: all.
Prints a Markdown table a part; RESULTS.md keeps one run. Needs the extra `bench`.
"""

import importlib
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parents[2]))
os.environ["PYTHONPATH"] = sys.path[0]

from timing import machine

PARTS = ("startup", "engine", "stream", "input", "training", "memory", "latents")


def main(names: list[str]) -> None:
    unknown = set(names) - set(PARTS)
    if unknown:
        sys.exit(f"no part {', '.join(sorted(unknown))}\n\n{__doc__}")
    print(machine(), flush=True)
    chosen = [part for part in PARTS if part in names] or PARTS
    if {"engine", "training"} & set(chosen):
        importlib.import_module("torch._dynamo")  # its Triton crashes once TensorFlow is there
    for name in chosen:
        part = importlib.import_module(f"part_{name}")
        started = time.perf_counter()
        print(f"\n## {name}\n\n{part.__doc__.strip()}\n", flush=True)
        print(part.measure(), flush=True)
        print(f"\n({time.perf_counter() - started:.0f} s)", flush=True)


main(sys.argv[1:])
