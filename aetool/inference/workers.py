"""Work on the workers of a Dask cluster: blocks of pictures, one engine a worker.

Which worker does what, and what is done again when one is lost, is Dask's affair.
"""

import logging
import os
import pickle
import threading
import uuid
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import closing, suppress
from dataclasses import replace
from typing import Any

import numpy as np
from distributed import Client, KilledWorker, Worker, WorkerPlugin, as_completed, get_worker
from distributed.comm import CommClosedError

import aetool
from aetool.errors import ClusterError, Failure
from aetool.images.source import Source
from aetool.inference.precision import resolve_precision
from aetool.inference.stream import (
    Item,
    Outputs,
    Predictor,
    Progress,
    predictions,
    processors,
    stream,
)
from aetool.inference.workplace import Take, Work

_WAIT_SECONDS = 30  # for the cluster to answer, and for its first worker
# Pictures that a worker is given at a time, and the bytes of them where they are no files: enough
# that starting on a block costs little, few enough that the workers end together. Whole batches,
# since the engine computes a batch that is not full as if it were.
_BLOCK = (64, 1024)
_BLOCK_BYTES = 2**23
_BLOCKS_A_THREAD = 8


class Workers:
    """The workers of a cluster, as a workplace and a context.

    Args:
        address: of its scheduler, such as tcp://host:8786.

    Raises:
        ClusterError: it does not answer, has no workers, or they have not this aetool.
    """

    def __init__(self, address: str):
        self._address = address
        # It logs tracebacks of its own when the scheduler dies, of which ClusterError tells.
        logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
        try:
            self._client = Client(address, timeout=_WAIT_SECONDS, set_as_default=False)
        except (OSError, ValueError) as error:
            raise ClusterError(
                f"no Dask scheduler answers at {address}",
                "start one with: dask scheduler",
            ) from error
        try:
            self._client.wait_for_workers(1, timeout=_WAIT_SECONDS)
        except TimeoutError as error:
            self._client.close()
            raise ClusterError(
                f"the cluster at {address} has no workers",
                f"start some with: dask worker {address}",
            ) from error
        self._check_versions()

    def _check_versions(self) -> None:
        def version() -> str | None:  # not of a module, so that it travels without one
            try:
                import aetool
            except ModuleNotFoundError:
                return None
            return aetool.__version__

        for worker, found in self._client.run(version).items():
            if found != aetool.__version__:
                self._client.close()
                raise ClusterError(
                    f"the worker at {worker} has {f'aetool {found}' if found else 'no aetool'}, "
                    f"and this is aetool {aetool.__version__}",
                    "install the same on all: pip install 'aetool[distributed]'",
                )

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def resolve(self, precision: str, about: Mapping | None) -> str:
        """What "auto" stands for on all the workers: float32 where they differ."""
        found = set(self._client.run(resolve_precision, precision, about).values())
        return found.pop() if len(found) == 1 else "float32"

    def stream(
        self, work: Work, indices: Sequence[int], take: Take, progress: Progress | None
    ) -> list[Failure]:
        failures: list[Failure] = []
        with closing(self._blocks(_finish, work, indices, failures, progress)) as blocks:
            for i, result in blocks:
                take(i, result)
        return failures

    def batches(
        self,
        work: Work,
        indices: Sequence[int],
        failures: list[Failure],
        progress: Progress | None,
    ) -> Iterator[tuple[list[int], Any]]:
        yield from self._blocks(_gather, work, indices, failures, progress)

    def _blocks(
        self,
        do,
        work: Work,
        indices: Sequence[int],
        failures: list[Failure],
        progress: Progress | None,
    ) -> Iterator[tuple]:
        """Have `do` done to blocks of pictures; yield its results in order.

        As many blocks are under way as keep the workers busy, so what waits here is bounded too.
        """
        if not len(indices):
            return
        pictures, client = work.pictures, self._client
        empty = replace(work, pictures=pictures.select([]))
        bench = _Bench(empty)
        waiting: deque = deque()
        start = done = 0
        client.register_plugin(bench, name=bench.name)
        try:
            size = self._block_size(pictures, indices, self._batch_size(bench))
            while start < len(indices) or waiting:
                while start < len(indices) and len(waiting) < 2 * self._threads() + 2:
                    block = np.asarray(indices[start : start + size])
                    future = client.submit(do, bench.name, pictures.select(block), pure=False)
                    waiting.append((future, block))
                    start += size
                future, block = waiting.popleft()
                results, left_out = future.result()
                for numbers, result in results:
                    yield block[numbers].tolist(), result
                failures += left_out
                done += len(block)
                if progress:
                    progress(done, len(indices))
        except KilledWorker as error:
            raise ClusterError(
                f"workers of {self._address} died of the same pictures again and again",
                "they may need more memory, or a smaller --batch-size",
            ) from error
        except (CancelledError, CommClosedError) as error:
            raise ClusterError(
                f"the cluster at {self._address} no longer answers",
                "once it is there again, the same command goes on",
            ) from error
        finally:
            # A worker that has just died took its bench along, and a scheduler knows of none.
            with suppress(OSError):
                client.cancel([future for future, _ in waiting])
            with suppress(OSError):
                client.unregister_worker_plugin(bench.name)

    def _threads(self) -> int:
        return max(1, sum(self._client.nthreads().values()))

    def _batch_size(self, bench: "_Bench") -> int:
        """Of the engine, which all the workers make now; as soon as one of them has."""
        futures = [
            self._client.submit(
                _batch_size, bench.name, workers=[address], allow_other_workers=True, pure=False
            )
            for address in self._client.nthreads()
        ]
        with self._client.as_current():
            return next(as_completed(futures)).result()

    def _block_size(self, pictures: Source, indices: Sequence[int], batch: int) -> int:
        share = -(-len(indices) // (_BLOCKS_A_THREAD * self._threads()))
        one = len(pickle.dumps(pictures.select(indices[:1])))
        smallest, largest = _BLOCK
        wanted = min(max(smallest, share), largest, _BLOCK_BYTES // one)
        return max(1, wanted // batch) * batch


class _Bench(WorkerPlugin):
    """The work on one worker, and the engine that its threads share.

    Dask sets it up on every worker that there is or will be.
    """

    def __init__(self, work: Work):
        self.work = work
        self.name = f"aetool-{uuid.uuid4().hex}"

    def setup(self, worker: Worker) -> None:
        # Before the first engine imports Keras and TensorFlow, as the command line does it.
        os.environ["KERAS_BACKEND"] = "tensorflow"
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        # As many blocks are done at a time as the worker has threads. Where those are as many as
        # the processors, helpers beside them would only wait for each other.
        share = processors() // worker.state.nthreads
        self.helpers = share if share > 1 else 0
        self._lock = threading.Lock()
        self._engine: Predictor | None = None

    def engine(self) -> "_Bench":
        with self._lock:
            self._engine = self._engine or self.work.make_engine()
        return self

    @property
    def batch_size(self) -> int:
        return self._engine.batch_size

    def predict(self, batch: np.ndarray) -> Outputs:
        with self._lock:
            return self._engine.predict(batch)


def _batch_size(name: str) -> int:
    """On a worker: pictures in a batch of its engine."""
    return get_worker().plugins[name].engine().batch_size


def _finish(name: str, pictures: Source) -> tuple[list[tuple[int, Any]], list[Failure]]:
    """On a worker: [(index in the block, what `finish` returned)], and the pictures left out."""
    bench: _Bench = get_worker().plugins[name]
    work = replace(bench.work, pictures=pictures)
    results: list[tuple[int, Any]] = []

    def take(i: int, result: Any) -> None:
        results.append((i, result))

    everything = range(len(pictures))
    left_out = stream(
        pictures,
        everything,
        work.load,
        bench.engine,
        work.finish,
        take=take,
        workers=max(1, bench.helpers),
    )
    return results, left_out


def _gather(name: str, pictures: Source) -> tuple[list[tuple[list[int], Any]], list[Failure]]:
    """On a worker: [(indices of a batch, what `gather` returned)], and the pictures left out."""
    bench: _Bench = get_worker().plugins[name]
    work = replace(bench.work, pictures=pictures)
    left_out: list[Failure] = []
    everything = range(len(pictures))
    found = predictions(
        pictures, everything, work.load, bench.engine, left_out, workers=bench.helpers
    )
    results = [(_indices(items), work.gather(items, outputs)) for items, outputs in found]
    return results, left_out


def _indices(items: list[Item]) -> list[int]:
    return [item.index for item in items]
