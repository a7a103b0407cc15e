"""Pictures to labels: the class that a classifier takes each for, and how sure it is."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aetool.errors import Failure, FormatError
from aetool.images.source import MAX_PIXELS, Source
from aetool.inference.prepare import prepare
from aetool.inference.stream import Item, Outputs, Progress
from aetool.inference.workplace import workplace
from aetool.storage.checkpoint import Checkpoint, read_checkpoint
from aetool.storage.shards import Shard
from aetool.tasks.encode import note_pages
from aetool.tasks.outputs import held
from aetool.tasks.shards import check_part, open_shard, part_of, write_rows

HEADER = ("path", "label", "predicted", "probability")
PROBABILITIES = "probabilities"
_NAMED_LABELS = 5


@dataclass(frozen=True, slots=True)
class ClassifyResult:
    """What a classification run found.

    Args:
        read: pictures decoded and classified.
        written: rows of the table; the same as `read`.
        skipped: always 0: a table is written whole.
        failed: pictures left out, in input order.
        seconds: wall time.
        accuracy: the share of pictures with a label of a class that the model knows whose predicted
            class is that one; None where there are no such pictures.
    """

    read: int
    written: int
    skipped: int
    failed: list[Failure]
    seconds: float
    accuracy: float | None


class _BothWays:
    """An engine that looks at each picture and at its mirror image, and gives the means.

    As Simonyan and Zisserman measured the networks of "Very deep convolutional networks for
    large-scale image recognition" (2015).
    """

    def __init__(self, engine):
        self._engine = engine
        self.batch_size = engine.batch_size

    def predict(self, batch: np.ndarray) -> Outputs:
        """As the engine's, of (n, h, w, c)."""
        given, mirrored = self._engine.predict(batch), self._engine.predict(batch[:, :, ::-1])
        return {name: (values + mirrored[name]) / 2 for name, values in given.items()}


@dataclass(frozen=True, slots=True)
class _Classifying:
    """What is done to each picture.

    Args:
        pictures: the source.
        stored: the classifier.
        probabilities: keep those of every class, not the highest alone.
        mirror, precision, batch_size, max_pixels: as `classify_images`.
    """

    pictures: Source
    stored: Checkpoint
    probabilities: bool
    mirror: bool
    precision: str
    batch_size: int | None
    max_pixels: int

    def load(self, i: int) -> Item:
        preprocessing = self.stored.metadata["preprocessing"]
        size = tuple(preprocessing["size"])
        picture = self.pictures.load(i, max_pixels=self.max_pixels, reduce_to=size)
        return Item(i, prepare(picture.pixels, preprocessing, size), picture.frames)

    def make_engine(self):
        # Imported when the first picture has been read: TensorFlow costs seconds.
        from aetool.inference.engine import Engine
        from aetool.inference.load import rebuild

        # The part to the probabilities alone: the reconstruction is not wanted here.
        model = rebuild(self.stored, encode=True, layer=PROBABILITIES).model
        engine = Engine(model, precision=self.precision, batch_size=self.batch_size)
        return _BothWays(engine) if self.mirror else engine

    def gather(
        self, items: list[Item], outputs: Outputs
    ) -> tuple[np.ndarray, np.ndarray, list[int]]:
        """(class numbers (n,), probabilities (n, classes or 1), pages of each file)."""
        (rows,) = outputs.values()
        kept = rows if self.probabilities else rows.max(axis=1, keepdims=True)
        return rows.argmax(axis=1), kept, [item.payload for item in items]


def classify_images(
    source: str,
    output: Path | None,
    checkpoint: Path,
    *,
    probabilities: bool = False,
    mirror: bool = False,
    batch_size: int | None = None,
    precision: str = "auto",
    max_pixels: int = MAX_PIXELS,
    shard: Shard | None = None,
    scheduler: str | None = None,
    progress: Progress | None = None,
    note: Callable[[str], None] | None = None,
) -> ClassifyResult:
    """Write the likeliest class of every readable picture of a source, in its order.

    Args:
        source: SOURCE as on the command line.
        output: the table: path, label, predicted, probability; None for standard output.
        checkpoint: a model that learnt to classify.
        probabilities: add a column a class, `probability_CLASS`.
        mirror: take the mean of what the model says of a picture and of its mirror image.
        batch_size: pictures a batch; by default chosen from the picture size.
        precision: "auto", "float32" or "bfloat16".
        max_pixels: refuse larger pictures.
        shard: the share of the pictures to classify, for `merge` to join.
        scheduler: address of a Dask cluster to classify on.
        progress: called with (pictures done or failed, pictures in all).
        note: called with a line worth telling.

    Raises:
        SourceError, FormatError, OutputError: a source, checkpoint or output that cannot be used.
    """
    check_part(output, shard)
    started = time.perf_counter()
    stored = read_checkpoint(checkpoint)
    classes = _classes(stored, checkpoint)
    pictures = open_shard(source, shard)
    several_pages: list[int] = []
    numbers: list[int] = []
    predicted: list[np.ndarray] = []
    kept: list[np.ndarray] = []
    failures: list[Failure] = []
    reads = (source, pictures, checkpoint)
    with held([output], reads), workplace(scheduler) as place:
        precision = place.resolve(precision, stored.metadata)
        work = _Classifying(
            pictures, stored, probabilities, mirror, precision, batch_size, max_pixels
        )
        with closing(place.batches(work, range(len(pictures)), failures, progress)) as batches:
            for found, (best, rows, frames) in batches:
                numbers += found
                predicted.append(best)
                kept.append(rows)
                several_pages += [i for i, pages in zip(found, frames, strict=True) if pages > 1]
        columns = [f"probability_{name}" for name in classes] if probabilities else []
        write_rows(
            output,
            [*HEADER, *columns],
            _rows(pictures, numbers, classes, predicted, kept, len(columns)),
            part_of(pictures, shard, ("classify", stored.digest, precision, mirror)),
            map(pictures.position, numbers),
        )
    note_pages(note, pictures, several_pages)
    chosen = np.concatenate(predicted) if predicted else np.zeros(0, int)
    accuracy = _accuracy(pictures, numbers, classes, chosen, note or (lambda text: None))
    seconds = time.perf_counter() - started
    return ClassifyResult(len(numbers), len(numbers), 0, failures, seconds, accuracy)


def _classes(stored: Checkpoint, path: Path) -> tuple[str, ...]:
    """The names of a classifier's classes, in the order of its probabilities.

    Raises:
        FormatError: the model is no classifier, or its classes are not those of its output.
    """
    metadata = stored.metadata
    if not any(about["decoding"] == PROBABILITIES for about in metadata["output"]):
        raise FormatError(
            f"{path}: this model learnt to {metadata['task']}, not to classify",
            "train one with: aetool train SOURCE -o MODEL.h5 --model vgg-classifier-ae",
        )
    count = metadata["model"]["classes"]
    names = tuple(metadata["classes"]) or tuple(map(str, range(count)))
    if len(names) != count:
        raise FormatError(f"{path} names {len(names)} classes, but its model tells {count} apart")
    return names


def _rows(
    pictures: Source,
    numbers: list[int],
    classes: tuple[str, ...],
    predicted: list[np.ndarray],
    kept: list[np.ndarray],
    columns: int,
) -> Iterator[tuple]:
    """Rows of the table.

    Args:
        predicted: batches of class numbers (n,).
        kept: batches of probabilities, (n, classes), or of the highest alone, (n, 1).
        columns: how many of them to write after the highest.
    """
    indices = iter(numbers)
    for best, probabilities in zip(predicted, kept, strict=True):
        for number, row in zip(best, probabilities, strict=True):
            i = next(indices)
            label = _label(pictures, i)
            yield pictures.name(i), label, classes[number], row.max(), *row[:columns]


def _label(pictures: Source, i: int) -> str | None:
    label = pictures.label(i)
    return pictures.class_names[label] if label >= 0 else None


def _accuracy(
    pictures: Source,
    numbers: list[int],
    classes: tuple[str, ...],
    predicted: np.ndarray,
    tell: Callable[[str], None],
) -> float | None:
    """Classes are matched by name: the source may have fewer than the model, or more."""
    known = {name: number for number, name in enumerate(classes)}
    right, counted = 0, 0
    unknown: Counter[str] = Counter()
    for i, number in zip(numbers, predicted, strict=True):
        label = _label(pictures, i)
        if label is None:
            continue
        if label not in known:
            unknown[label] += 1
            continue
        counted += 1
        right += int(known[label] == number)
    if unknown:
        names = list(unknown)[:_NAMED_LABELS]
        more = f" and {len(unknown) - len(names)} more" if len(unknown) > len(names) else ""
        tell(
            f"labels that the model does not know are not counted: {', '.join(names)}{more} "
            f"({unknown.total()} pictures)"
        )
    return right / counted if counted else None
