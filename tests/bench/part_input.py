"""Input: pictures a second that the batches give, and that the fastest family learns from.

conv-ae on pictures of 28x28 held in memory, batches of 128; the batches are made in one thread, as
in a training. With the step removed they are to come at least five times as fast as it takes them.
"""

import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import numpy as np
from timing import rates, table

from aetool.images.augment import stored_size
from aetool.images.source import open_source
from aetool.models.build import build_model
from aetool.training.batches import Batches
from aetool.training.losses import loss_function
from aetool.training.pairs import reconstruct_pair
from aetool.training.pictures import Pictures
from aetool.training.reconstruction import Reconstruction
from aetool.training.settings import Settings

BATCH, SIZE, PICTURES = 128, (28, 28), 12_800
AUGMENTATIONS = ((), ("flip",), ("shift",), ("crop", "flip"), ("rotate", "brightness"))


def measure() -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "pictures.npy")
        random = np.random.default_rng(0)
        np.save(path, random.integers(0, 256, (PICTURES, *SIZE), np.uint8))
        contenders = {", ".join(names) or "none": _feed(path, names) for names in AUGMENTATIONS}
        measured = rates({**contenders, "learnt": _learn()}, rounds=5, seconds=2)
    learnt = measured.pop("learnt")
    rows = [[name, fed, learnt, fed / learnt] for name, fed in measured.items()]
    return table(["augmentation", "fed, pictures/s", "learnt, pictures/s", "ratio"], rows)


def _feed(path: Path, names: tuple[str, ...]) -> Callable[[], int]:
    pictures = Pictures(open_source(str(path)), stored_size(SIZE, names), 1)
    batches = Batches(pictures, reconstruct_pair, SIZE, BATCH, augmentations=names)

    def endless() -> Iterator[int]:
        for epoch in count():
            for x, _ in batches.epoch(epoch):
                yield len(x)

    lengths = endless()
    return lambda: next(lengths)


def _learn() -> Callable[[], int]:
    model = build_model({"name": "conv-ae", "size": SIZE, "channels": 1})
    learner = Reconstruction(model, Settings(), loss_function("binary-crossentropy"))
    x = np.random.default_rng(0).random((BATCH, *SIZE, 1), np.float32)
    return lambda: learner.train_batch(x, x) is not None and len(x)
