"""Where a task's pictures are done: in this process, or on the workers of a Dask cluster."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from typing import Any, Protocol

from aetool.errors import Failure, UsageError
from aetool.images.source import Source
from aetool.inference.precision import resolve_precision
from aetool.inference.stream import Item, Outputs, Predictor, Progress, predictions, stream

Take = Callable[[int, Any], None]


class Work(Protocol):
    """What a task does to each picture: a dataclass that can be pickled.

    What it finds out it returns; nothing that it changes of itself is seen outside. A task has
    `finish` or `gather`, or both for two ways of writing.
    """

    pictures: Source

    def load(self, i: int) -> Item:
        """Picture i as the network takes it; called in reader threads."""

    def make_engine(self) -> Predictor:
        """Called when the first picture has been read: TensorFlow costs seconds."""

    def finish(self, item: Item, outputs: Outputs) -> Any:
        """One picture's result from its row of every output; called in writer threads."""

    def gather(self, items: list[Item], outputs: Outputs) -> Any:
        """A batch's results from its outputs, where no thread is needed to write them."""


class Workplace(Protocol):
    """Where the work is done."""

    def resolve(self, precision: str, about: Mapping | None) -> str:
        """What "auto" stands for there, for a model so described."""

    def stream(
        self, work: Work, indices: Sequence[int], take: Take, progress: Progress | None
    ) -> list[Failure]:
        """Finish pictures; `take` gets (index, what `finish` returned), in order.

        Args:
            work: what to do.
            indices: which of its pictures.
            take: called in this thread.
            progress: called with (pictures done or failed, pictures in all).

        Returns:
            The pictures left out, in input order.
        """

    def batches(
        self,
        work: Work,
        indices: Sequence[int],
        failures: list[Failure],
        progress: Progress | None,
    ) -> Iterator[tuple[list[int], Any]]:
        """Yield (indices of a batch, what `gather` returned), in order; failures are appended."""


class Here:
    """This process."""

    def resolve(self, precision: str, about: Mapping | None) -> str:
        return resolve_precision(precision, about)

    def stream(
        self, work: Work, indices: Sequence[int], take: Take, progress: Progress | None
    ) -> list[Failure]:
        return stream(
            work.pictures,
            indices,
            work.load,
            work.make_engine,
            work.finish,
            take=take,
            progress=progress,
        )

    def batches(
        self,
        work: Work,
        indices: Sequence[int],
        failures: list[Failure],
        progress: Progress | None,
    ) -> Iterator[tuple[list[int], Any]]:
        found = predictions(
            work.pictures, indices, work.load, work.make_engine, failures, progress=progress
        )
        with closing(found):
            for items, outputs in found:
                yield [item.index for item in items], work.gather(items, outputs)


def workplace(scheduler: str | None) -> AbstractContextManager[Workplace]:
    """This process, or the Dask cluster at an address.

    Raises:
        UsageError: Dask is not installed.
        ClusterError: no cluster answers, or it has no workers.
    """
    if scheduler is None:
        return nullcontext(Here())
    try:
        from aetool.inference.workers import Workers
    except ModuleNotFoundError as error:
        if error.name not in ("dask", "distributed"):
            raise
        raise UsageError(
            "--scheduler needs Dask, which is not installed",
            "pip install 'aetool[distributed]', here and on the workers",
        ) from error
    return Workers(scheduler)
