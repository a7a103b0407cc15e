"""Do other settings of the map agree more with themselves? No label is read.

    python settings.py K NAME=A-latents.h5,B-latents.h5[,...] ... [SETTING ...] > settings.md

Each NAME holds latents of the same pictures by independent trainings. For each setting, one changed
at a time, every training's latents are clustered, and two trainings agree as far as their clusters
of the same pictures do, by the adjusted Rand index: what is really in the pictures is found again
(Ben-Hur, Elisseeff and Guyon, "A stability based method for discovering structure in clustered
data", 2002). "behind" is how far a setting's agreement is below that of the program's own, over the
pairs of all sets, with the standard error of that. All settings are tried unless some are named.
"""

import itertools
import statistics
import sys

import numpy as np

from aetool.analysis import embedding, mixture, neighbours, space
from aetool.analysis.groups import Grouper
from aetool.analysis.rows import take
from aetool.analysis.scores import adjusted_rand_index, contingency
from aetool.storage.latents import open_latents

ROWS = 20_000
"""Of each set, the same of every training."""

WIDE = space.PRINCIPAL_COMPONENTS

SETTINGS = {
    "pull": ((embedding, "PULL"), (1.0, 2.0, 8.0, 12.0)),
    "neighbours": ((neighbours, "NEIGHBOURS"), (8, 30, 60)),
    "least variance": ((mixture, "LEAST_VARIANCE"), (1e-6, 1e-3, 1e-1)),
    "evenness": ((space, "EVENNESS"), (0.0, 0.25, 0.75, 1.0)),
}
"""{name: (the constant, other values than the program's)}; evenness is of wide latents alone."""


def load(path: str) -> np.ndarray:
    with open_latents(path) as rows:
        count = rows.features.shape[0]
        chosen = np.random.default_rng(0).permutation(count)[:ROWS]
        return take(rows.features, np.sort(chosen))


def mapped(trainings: list[np.ndarray]) -> list[Grouper]:
    return [Grouper(rows, "manifold") for rows in trainings]


def agreements(trainings: list[Grouper], k: int) -> list[float]:
    """One a pair of trainings."""
    found = [next(grouper.runs(k, [[0, 0]])).labels for grouper in trainings]
    return [adjusted_rand_index(contingency(a, b)) for a, b in itertools.combinations(found, 2)]


def main(k: str, *words: str) -> None:
    sets: dict[str, list[np.ndarray]] = {}
    wanted: list[str] = []
    for word in words:
        name, given, paths = word.partition("=")
        if given:
            sets[name] = [load(path) for path in paths.split(",")]
        else:
            wanted.append(name)
    maps = {name: mapped(trainings) for name, trainings in sets.items()}
    own = {name: agreements(trainings, int(k)) for name, trainings in maps.items()}
    print("| setting | value |", " | ".join(sets), "| behind (standard error) |")
    print("|---" * (3 + len(sets)) + "|")
    print("| as it is | |", " | ".join(f"{statistics.mean(v):.4f}" for v in own.values()), "| |")
    for setting in wanted or SETTINGS:
        (module, constant), values = SETTINGS[setting]
        for value in values:
            cells, behind = [], []
            before = getattr(module, constant)
            setattr(module, constant, value)
            for name, trainings in sets.items():
                if setting == "evenness" and trainings[0].shape[1] <= WIDE:
                    cells.append("")
                    continue
                # The mixture changes no map.
                groupers = maps[name] if module is mixture else mapped(trainings)
                found = agreements(groupers, int(k))
                cells.append(f"{statistics.mean(found):.4f}")
                behind += [a - b for a, b in zip(own[name], found, strict=True)]
            setattr(module, constant, before)
            if not behind:
                continue
            error = statistics.stdev(behind) / len(behind) ** 0.5
            last = f"{statistics.mean(behind):.4f} ({error:.4f})"
            print(f"| {setting} | {value:g} |", " | ".join(cells), f"| {last} |", flush=True)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
