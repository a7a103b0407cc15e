"""The commands as functions: colour photographs are encoded, clustered and counted, in Python.

    python examples/library.py photos/ model.h5

Every command of aetool is a function of aetool.tasks that takes what the command takes, prints
nothing and returns what --json prints.
"""

import sys
import tempfile
from pathlib import Path

from aetool.errors import AetoolError
from aetool.storage.latents import open_latents
from aetool.tasks.cluster import cluster_latents
from aetool.tasks.encode import encode_images


def main(source: str, model: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        latents, table = Path(folder, "latents.h5"), Path(folder, "clusters.csv")
        encoded = encode_images(source, latents, Path(model))
        for failure in encoded.failed:
            print(f"{failure.path}: {failure.reason}", file=sys.stderr)
        with open_latents(latents) as rows:
            mean = sum(block.sum(axis=0) for block in rows.chunks()) / len(rows)
            print(f"{len(rows)} rows of {rows.dimensions}, the first at {mean[0]:.3f} on average")
        result = cluster_latents(str(latents), table, k=2)
        print(f"clusters of {' and '.join(map(str, result.cluster_sizes))}")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except AetoolError as error:
        sys.exit(f"{error.message}\n{error.hint or ''}".rstrip())
