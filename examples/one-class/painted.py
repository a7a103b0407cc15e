"""Which scores belong together, chosen without an anomaly: by what is made of normal pictures.

    python painted.py measure MODEL.h5 SOURCE > scores.json
    python painted.py rules NAME=FOLDER ... > table.md
    python painted.py show MODEL.h5 SOURCE sheet.png

`measure` takes the pictures of SOURCE that the training of the model held out, makes another of
each by every kind of change, and scores both. `rules` reads what it wrote into folders as
painted-*.json, one folder a data set, tries every choice of scores, joined by the highest and by
the mean of them, and puts first what tells the changed from the clean best: mean AUROC over the
data sets, of each over its models, defects and other things counting alike. `show` draws a row of
each kind.

Defects lie in one part of a picture: scratches and pieces of another picture (Li et al.,
"CutPaste", 2021; Schlueter et al., "Natural synthetic anomalies", 2022), spots and missing pieces
(Zavrtanik et al., "DRAEM", 2021). Other things are whole pictures that show no such object any
more, by the changes that are known to make them so: turned (Golan and El-Yaniv, "Deep anomaly
detection using geometric transformations", 2018), its quarters in another order (Tack et al.,
"CSI", 2020), the mean of two (Zhang et al., "mixup", 2018), half another (Yun et al., "CutMix",
2019), half its own mirror image, and warped (Simard et al., 2003).
"""

import itertools
import json
import statistics
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from aetool.analysis.anomaly import auroc
from aetool.analysis.detectors import FITTED, Detector, combine
from aetool.images.source import open_source
from aetool.images.write import png_bytes
from aetool.inference.features import feature_engine
from aetool.storage.checkpoint import Checkpoint, read_checkpoint
from aetool.tasks.scores import available, calibration_scores, fitted_arrays
from aetool.tasks.scoring import network_inputs
from aetool.tasks.train import split

Random = np.random.Generator
Painter = Callable[[Random, np.ndarray, np.ndarray], np.ndarray]

MOST = 300
LISTED = 12
# Standard deviation of the borders of what is painted, as a share of the picture's side.
BORDER = 1 / 32
CLEAN = "clean"


# Painters: of (random numbers, a picture (h, w, c) in [0, 1], another one) a picture with a defect.


def place(rng: Random, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates of every pixel, in pixels, about a random place and along a random direction."""
    down, across = np.indices(shape[:2])
    y, x = rng.uniform(0.1, 0.9, 2) * shape[:2]
    angle = rng.uniform(0, np.pi)
    along = (across - x) * np.cos(angle) + (down - y) * np.sin(angle)
    beside = (down - y) * np.cos(angle) - (across - x) * np.sin(angle)
    return along, beside


def shade(rng: Random, picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Brighter or darker by 0.1 to 0.4 where the mask (h, w) is 1."""
    change = rng.choice([-1, 1]) * rng.uniform(0.1, 0.4)
    return np.clip(picture + change * mask[..., None], 0, 1)


def scratch(rng: Random, picture: np.ndarray, other: np.ndarray) -> np.ndarray:
    side = max(picture.shape)
    along, beside = place(rng, picture.shape)
    bend = rng.uniform(-0.3, 0.3) / side
    half_width = max(0.5, rng.uniform(0.004, 0.02) * side)
    near = np.clip(half_width + 0.5 - np.abs(beside + bend * along**2), 0, 1)
    return shade(rng, picture, near * (np.abs(along) < rng.uniform(0.1, 0.35) * side))


def spot(rng: Random, picture: np.ndarray, other: np.ndarray) -> np.ndarray:
    along, beside = place(rng, picture.shape)
    radius = rng.uniform(0.02, 0.1) * max(picture.shape)
    distance = np.hypot(along, beside / rng.uniform(0.5, 1))
    mask = np.clip(radius - distance + 0.5, 0, 1)
    return shade(rng, picture, gaussian_filter(mask, BORDER / 4 * max(picture.shape)))


def piece(rng: Random, shape: tuple[int, ...], most: float) -> tuple[int, int]:
    """(height, width) of a piece of 2 % to `most` of a picture."""
    area = rng.uniform(0.02, most) * shape[0] * shape[1]
    aspect = np.exp(rng.uniform(-np.log(3), np.log(3)))
    sides = np.sqrt([area * aspect, area / aspect])
    return tuple(int(n) for n in np.clip(sides, 2, np.multiply(shape[:2], 0.8)))


def corner(rng: Random, shape: tuple[int, ...], size: tuple[int, int]) -> tuple[slice, slice]:
    y, x = (rng.integers(0, whole - part + 1) for whole, part in zip(shape[:2], size, strict=True))
    return slice(y, y + size[0]), slice(x, x + size[1])


def blend(
    picture: np.ndarray, other: np.ndarray, where: tuple[slice, ...], softness: float
) -> np.ndarray:
    """The other picture in one part, with a soft border: a cut would be found for its edge."""
    mask = np.zeros(picture.shape[:2])
    mask[where] = 1
    mask = gaussian_filter(mask, softness * max(picture.shape))[..., None]
    return picture + mask * (other - picture)


def pasted(rng: Random, picture: np.ndarray, other: np.ndarray) -> np.ndarray:
    size = piece(rng, picture.shape, 0.15)
    to, source = (corner(rng, picture.shape, size) for _ in range(2))
    shift = [there.start - here.start for there, here in zip(to, source, strict=True)]
    return blend(picture, np.roll(other, shift, axis=(0, 1)), to, BORDER)


def missing(rng: Random, picture: np.ndarray, other: np.ndarray) -> np.ndarray:
    nothing = np.broadcast_to(np.median(picture, axis=(0, 1)), picture.shape)
    size = piece(rng, picture.shape, 0.1)
    return blend(picture, nothing, corner(rng, picture.shape, size), BORDER)


def warped(rng: Random, picture: np.ndarray, other: np.ndarray) -> np.ndarray:
    side = max(picture.shape)
    shifts = []
    for _ in range(2):
        field = gaussian_filter(rng.normal(size=picture.shape[:2]), side / 8)
        shifts.append(field / np.abs(field).max() * side * rng.uniform(0.08, 0.16))
    where = np.indices(picture.shape[:2]) + shifts
    channels = np.moveaxis(picture, -1, 0)
    moved = [map_coordinates(channel, where, order=1, mode="nearest") for channel in channels]
    return np.stack(moved, axis=-1)


def half_of(picture: np.ndarray, other: np.ndarray, axis: int) -> np.ndarray:
    """The upper or left half of the other, the rest of the picture."""
    part = (slice(None),) * axis + (slice(picture.shape[axis] // 2),)
    return blend(picture, other, part, 2 * BORDER)


def half(rng: Random, picture: np.ndarray, other: np.ndarray) -> np.ndarray:
    return half_of(picture, other, int(rng.integers(2)))


def turned(rng: Random, picture: np.ndarray, other: np.ndarray) -> np.ndarray:
    painted = np.rot90(picture, rng.integers(1, 4))
    return painted if painted.shape == picture.shape else np.rot90(picture, 2)


def shuffled(rng: Random, picture: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Its quarters in another order; an odd row or column in the middle is left out of the cut."""
    height, width = (n // 2 for n in picture.shape[:2])
    parts = [
        (slice(y, y + height), slice(x, x + width))
        for y in (0, picture.shape[0] - height)
        for x in (0, picture.shape[1] - width)
    ]
    orders = list(itertools.permutations(range(4)))[1:]  # the first is the order they have
    painted = picture.copy()
    for to, source in zip(parts, orders[rng.integers(len(orders))], strict=True):
        painted[to] = picture[parts[source]]
    return painted


def mixed(rng: Random, picture: np.ndarray, other: np.ndarray) -> np.ndarray:
    return (picture + other) / 2


def mirrored(rng: Random, picture: np.ndarray, other: np.ndarray) -> np.ndarray:
    """One half of it, and that half's mirror image."""
    axis = int(rng.integers(2))
    return half_of(picture, np.flip(picture, axis), axis)


DEFECTS: dict[str, Painter] = {
    painter.__name__: painter for painter in (scratch, spot, pasted, missing)
}
OTHER_THINGS: dict[str, Painter] = {
    painter.__name__: painter for painter in (turned, shuffled, mixed, half, mirrored, warped)
}
PAINTERS = DEFECTS | OTHER_THINGS


# Scores.


def held_out(checkpoint: Checkpoint, source: str) -> list[np.ndarray]:
    """Network inputs of the pictures that the training held out, at most MOST."""
    options = checkpoint.metadata["training"]["options"]
    fraction = float(options["validation"])
    _, pictures = split(open_source(source), fraction, tuple(options["only"]), options["seed"])
    preprocessing = checkpoint.metadata["preprocessing"]
    count = min(MOST, len(pictures))
    return [network_inputs(pictures.load(i).pixels, preprocessing, None) for i in range(count)]


def paint(
    painter: Painter, pictures: list[np.ndarray], limits: tuple[float, float]
) -> Iterator[np.ndarray]:
    """Each picture, where there are few of them several times, with a defect of its own."""
    low, high = limits
    rng = np.random.default_rng(0)
    for picture in pictures * max(1, MOST // len(pictures)):
        other = pictures[rng.integers(len(pictures))]
        painted = painter(rng, *((each - low) / (high - low) for each in (picture, other)))
        yield (low + painted * (high - low)).astype(np.float32)


def measure(model: str, source: str) -> dict:
    """{kind: {score: those of its pictures}}, and under "normal" those of the calibration."""
    checkpoint = read_checkpoint(Path(model))
    limits = checkpoint.metadata["preprocessing"]["range"]
    engine = feature_engine(checkpoint, precision=checkpoint.metadata["calibration"]["precision"])
    names = (*available(checkpoint), *FITTED)
    detector = Detector(fitted_arrays(checkpoint), names, limits)
    pictures = held_out(checkpoint, source)

    def scores(rows: list[np.ndarray]) -> dict[str, list[float]]:
        values: dict[str, list[float]] = {name: [] for name in names}
        for first in range(0, len(rows), engine.batch_size):
            part = rows[first : first + engine.batch_size]
            outputs = engine.predict(np.stack(part))
            for n, inputs in enumerate(part):
                found, _ = detector.measure(inputs, {k: v[n] for k, v in outputs.items()})
                for name in names:
                    values[name].append(found[name])
        return values

    kinds = {kind: scores(list(paint(p, pictures, limits))) for kind, p in PAINTERS.items()}
    normal = {k: v.tolist() for k, v in calibration_scores(checkpoint).items() if k in names}
    return {"normal": normal, CLEAN: scores(pictures), **kinds}


# Rules.


def worth(measured: dict, names: tuple[str, ...], join: Callable) -> dict[str, float]:
    """AUROC of each kind of defect by some scores together."""
    normal = {name: np.array(measured["normal"][name]) for name in names}
    together = {
        kind: combine({name: np.array(measured[kind][name]) for name in names}, normal, join)
        for kind in (CLEAN, *PAINTERS)
    }
    clean = together.pop(CLEAN)
    return {
        kind: auroc(np.append(clean, values), np.arange(len(clean) + len(values)) >= len(clean))
        for kind, values in together.items()
    }


def balanced(worths: dict[str, float]) -> float:
    """The mean over kinds, defects and other things counting alike however many kinds each has."""
    return statistics.mean(
        statistics.mean(worths[kind] for kind in kinds) for kinds in (DEFECTS, OTHER_THINGS)
    )


def rules(sets: dict[str, list[dict]]) -> list[str]:
    """A table of the best rules, and of each score alone."""
    names = list(next(iter(sets.values()))[0]["normal"])
    choices = [
        (how, chosen)
        for count in range(1, len(names) + 1)
        for chosen in itertools.combinations(names, count)
        for how in (("highest", "mean") if count > 1 else ("alone",))
    ]
    found = {}
    for how, chosen in choices:
        join = np.mean if how == "mean" else np.max
        found[how, chosen] = [
            statistics.mean(balanced(worth(m, chosen, join)) for m in measured)
            for measured in sets.values()
        ]
    order = sorted(found, key=lambda rule: statistics.mean(found[rule]), reverse=True)
    alone = [rule for rule in order[LISTED:] if rule[0] == "alone"]
    lines = [f"| rank | rule | mean | {' | '.join(sets)} |", "|---" * (3 + len(sets)) + "|"]
    for rule in (*order[:LISTED], *alone):
        values = [statistics.mean(found[rule]), *found[rule]]
        name = f"{rule[0]}: {', '.join(rule[1])}"
        cells = [str(order.index(rule) + 1), name, *(f"{value:.4f}" for value in values)]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def show(model: str, source: str, sheet: str) -> None:
    """A row of clean pictures, and one of each kind."""
    checkpoint = read_checkpoint(Path(model))
    low, high = checkpoint.metadata["preprocessing"]["range"]
    pictures = held_out(checkpoint, source)[:10]
    rows = [pictures, *(list(paint(p, pictures, (low, high)))[:10] for p in PAINTERS.values())]
    pixels = (np.concatenate([np.concatenate(row, axis=1) for row in rows]) - low) / (high - low)
    Path(sheet).write_bytes(png_bytes(np.squeeze(np.round(pixels * 255).astype(np.uint8))))


def main(what: str, *words: str) -> None:
    if what == "measure" and len(words) == 2:
        print(json.dumps(measure(*words)))
    elif what == "rules" and words:
        sets = {}
        for word in words:
            name, _, folder = word.partition("=")
            files = sorted(Path(folder).glob("painted-*.json"))
            sets[name] = [json.loads(path.read_text("utf-8")) for path in files]
        print("\n".join(rules(sets)))
    elif what == "show" and len(words) == 3:
        show(*words)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(*sys.argv[1:] or [""])
