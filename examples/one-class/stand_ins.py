"""Which scores belong together, chosen without an anomaly: by what stands in for one.

    python stand_ins.py measure MODEL.h5 SOURCE > scores.json
    python stand_ins.py rules NAME=FOLDER ... > table.md
    python stand_ins.py show MODEL.h5 SOURCE sheet.png

Two things stand in for anomalies. Defects are painted into the pictures that the training of the
model held out: scratches and pieces of another picture (Li et al., "CutPaste", 2021; Schlueter et
al., "Natural synthetic anomalies", 2022), spots and missing pieces (Zavrtanik et al., "DRAEM",
2021). And normal pictures of one kind are kept out of what the scores are fitted to, as if they
were something else: the kinds are clusters of the pixels, and each in turn is the odd one.

`measure` scores them all, with the normal pictures beside them. `rules` reads what it wrote into
folders as stand-ins-*.json, one folder a data set, tries every choice of scores, joined by the
highest and by the mean of them, and puts first what tells the stand-ins from the rest best: mean
AUROC over the data sets, of each over its models, defects and odd kinds counting alike. `show`
draws a row of each defect and of each kind.
"""

import itertools
import json
import statistics
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter
from sklearn.cluster import KMeans

from aetool.analysis.anomaly import auroc
from aetool.analysis.detectors import FITTED, PARTS, Detector, combine
from aetool.analysis.normals import TEXTURES, Normals, bank_pictures, fit
from aetool.analysis.texture import texture
from aetool.images.source import Source, open_source
from aetool.images.write import png_bytes
from aetool.inference.features import feature_engine
from aetool.storage.checkpoint import read_checkpoint
from aetool.tasks.scores import available, fitted_arrays
from aetool.tasks.scoring import network_inputs
from aetool.tasks.train import split

Random = np.random.Generator
Painter = Callable[[Random, np.ndarray, np.ndarray], np.ndarray]

# Pictures that are scored of each sort, and of those that the training learnt from.
MOST = 300
LEARNT = 2000
KINDS = 5
LISTED = 12
# Standard deviation of the borders of what is painted, as a share of the picture's side.
BORDER = 1 / 32


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


DEFECTS: dict[str, Painter] = {
    painter.__name__: painter for painter in (scratch, spot, pasted, missing)
}


# Scores.


@dataclass(frozen=True, slots=True)
class Trial:
    """Scores of normal pictures and of what stands in for anomalies, {score: one a picture}."""

    clean: dict[str, list[float]]
    odd: dict[str, list[float]]

    def worth(self, names: tuple[str, ...], join: Callable) -> float:
        """AUROC by some scores together."""
        clean, odd = (
            {name: np.array(values[name]) for name in names} for values in (self.clean, self.odd)
        )
        together = [combine(values, clean, join) for values in (clean, odd)]
        return auroc(np.concatenate(together), np.repeat([False, True], [len(x) for x in together]))


class Model:
    """A trained model, with normal pictures that it learnt from and all that it held out."""

    def __init__(self, path: str, source: str):
        self.checkpoint = read_checkpoint(Path(path))
        options = self.checkpoint.metadata["training"]["options"]
        fraction, only = float(options["validation"]), tuple(options["only"])
        learnt, held_out = split(open_source(source), fraction, only, options["seed"])
        self.learnt, self.held_out = self._inputs(learnt), self._inputs(held_out)
        self.limits = self.checkpoint.metadata["preprocessing"]["range"]
        self._names = (*available(self.checkpoint), *FITTED)
        precision = self.checkpoint.metadata["calibration"]["precision"]
        self._engine = feature_engine(self.checkpoint, precision=precision)

    def _inputs(self, pictures: Source) -> list[np.ndarray]:
        preprocessing = self.checkpoint.metadata["preprocessing"]
        chosen = np.random.default_rng(0).permutation(len(pictures))[:LEARNT]
        return [network_inputs(pictures.load(int(i)).pixels, preprocessing, None) for i in chosen]

    def outputs(self, rows: list[np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
        for first in range(0, len(rows), self._engine.batch_size):
            part = np.stack(rows[first : first + self._engine.batch_size])
            outputs = self._engine.predict(part)
            for n in range(len(part)):
                yield {name: values[n] for name, values in outputs.items()}

    def detector(self, arrays: dict[str, np.ndarray]) -> Detector:
        return Detector(arrays, self._names, self.limits)

    def scores(
        self, detector: Detector, rows: list[np.ndarray], outputs: Iterable[dict]
    ) -> dict[str, list[float]]:
        found = [detector.measure(x, of)[0] for x, of in zip(rows, outputs, strict=True)]
        return {name: [each[name] for each in found] for name in self._names}

    def unit(self, inputs: np.ndarray) -> np.ndarray:
        """Network inputs as numbers in [0, 1]."""
        low, high = self.limits
        return (inputs - low) / (high - low)


def paint(painter: Painter, model: Model) -> list[np.ndarray]:
    """Held-out pictures, where there are few of them several times, each with its own defect."""
    low, high = model.limits
    pictures = model.held_out[:MOST]
    rng = np.random.default_rng(0)
    rows = []
    for picture in pictures * max(1, MOST // len(pictures)):
        other = pictures[rng.integers(len(pictures))]
        painted = painter(rng, model.unit(picture), model.unit(other))
        rows.append((low + painted * (high - low)).astype(np.float32))
    return rows


def defects(model: Model) -> dict[str, Trial]:
    """What the model, as it was calibrated, makes of painted pictures."""
    detector = model.detector(fitted_arrays(model.checkpoint))

    def scores(rows: list[np.ndarray]) -> dict[str, list[float]]:
        return model.scores(detector, rows, model.outputs(rows))

    clean = scores(model.held_out[:MOST])
    return {name: Trial(clean, scores(paint(p, model))) for name, p in DEFECTS.items()}


def kinds_of(pictures: list[np.ndarray]) -> np.ndarray:
    """Which of KINDS each picture belongs to, by its pixels."""
    pixels = np.stack(pictures).reshape(len(pictures), -1)
    return KMeans(KINDS, n_init=10, random_state=0).fit_predict(pixels)


def odd_kinds(model: Model) -> dict[str, Trial]:
    """What scores make of a kind of normal pictures that they were not fitted to.

    The network has learnt from most pictures of every kind; where there are few of them, half are
    fitted and half are scored.
    """
    pictures = model.held_out + model.learnt
    outputs = list(model.outputs(pictures))
    textures = [texture(model.unit(inputs)) for inputs in pictures]
    grid = outputs[0]["patches"].shape[:2]
    order = np.random.default_rng(0).permutation(len(pictures))
    kind, place = kinds_of(pictures)[order], np.arange(len(order))
    scored = place < min(MOST, len(order) // 2)

    def fitted(rows: np.ndarray) -> Detector:
        normals = Normals(
            np.stack([outputs[i]["latents"] for i in rows]),
            np.stack([outputs[i]["patches"] for i in rows[: bank_pictures(*grid)]]),
            np.stack([textures[i] for i in rows[:TEXTURES]]),
        )
        return model.detector(fit(normals))

    trials = {}
    for odd in range(KINDS):
        detector = fitted(order[(kind != odd) & ~scored])
        clean, other = (
            model.scores(detector, [pictures[i] for i in rows], [outputs[i] for i in rows])
            for rows in (order[(kind != odd) & scored], order[kind == odd][:MOST])
        )
        trials[str(odd)] = Trial(clean, other)
    return trials


GROUPS = {"defects": defects, "kinds": odd_kinds}


def measure(path: str, source: str) -> dict:
    """{group: {what stands in: its trial}}."""
    model = Model(path, source)
    return {
        group: {name: asdict(trial) for name, trial in trials(model).items()}
        for group, trials in GROUPS.items()
    }


# Rules.


def worth(measured: dict, names: tuple[str, ...], join: Callable) -> float:
    """Mean AUROC by some scores together, the groups counting alike however much is in each."""
    return statistics.mean(
        statistics.mean(Trial(**trial).worth(names, join) for trial in measured[group].values())
        for group in GROUPS
    )


def mean_of_means(values: list[list[float]]) -> float:
    """Of sets that count alike, however many trainings are in each."""
    return statistics.mean(map(statistics.mean, values))


def lead(first: list[list[float]], other: list[list[float]]) -> tuple[float, float]:
    """How far one rule is ahead of another, and the standard error of that.

    Args:
        first, other: what a rule is worth by each training of each set.
    """
    apart = [[a - b for a, b in zip(*pair, strict=True)] for pair in zip(first, other, strict=True)]
    variances = (statistics.variance(each) / len(each) for each in apart if len(each) > 1)
    return mean_of_means(apart), sum(variances) ** 0.5 / len(apart)


def rules(sets: dict[str, list[dict]]) -> list[str]:
    """A table of the best rules, of each score alone, and of what the program combines."""
    first = next(iter(sets.values()))[0]
    names = list(next(iter(first["defects"].values()))["clean"])
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
            [worth(each, chosen, join) for each in measured] for measured in sets.values()
        ]
    order = sorted(found, key=lambda rule: mean_of_means(found[rule]), reverse=True)
    shown = ("alone", ("highest", PARTS))
    others = [rule for rule in order[LISTED:] if rule[0] in shown or rule in shown]
    lines = [
        f"| rank | rule | mean | {' | '.join(sets)} | behind the first (standard error) |",
        "|---" * (4 + len(sets)) + "|",
    ]
    for rule in (*order[:LISTED], *others):
        values = [mean_of_means(found[rule]), *map(statistics.mean, found[rule])]
        behind, error = lead(found[order[0]], found[rule])
        name = f"{rule[0]}: {', '.join(rule[1])}"
        cells = [str(order.index(rule) + 1), name, *(f"{value:.4f}" for value in values)]
        lines.append(f"| {' | '.join(cells)} | {behind:.4f} ({error:.4f}) |")
    return lines


def show(path: str, source: str, sheet: str) -> None:
    """A row of clean pictures, one of each defect, and one of each kind."""
    model = Model(path, source)
    pictures = model.held_out + model.learnt
    kind = kinds_of(pictures)
    rows = [model.held_out, *(paint(painter, model) for painter in DEFECTS.values())]
    rows += [[pictures[i] for i in np.flatnonzero(kind == odd)] for odd in range(KINDS)]
    shown = min(10, *map(len, rows))
    joined = np.concatenate([np.concatenate(row[:shown], axis=1) for row in rows])
    pixels = np.round(model.unit(joined) * 255).astype(np.uint8)
    Path(sheet).write_bytes(png_bytes(np.squeeze(pixels)))


def main(what: str, *words: str) -> None:
    if what == "measure" and len(words) == 2:
        print(json.dumps(measure(*words)))
    elif what == "rules" and words:
        sets = {}
        for word in words:
            name, _, folder = word.partition("=")
            files = sorted(Path(folder).glob("stand-ins-*.json"))
            sets[name] = [json.loads(path.read_text("utf-8")) for path in files]
        print("\n".join(rules(sets)))
    elif what == "show" and len(words) == 3:
        show(*words)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(*sys.argv[1:] or [""])
