"""Which process of a training this is, as TF_CONFIG says. Light: no TensorFlow."""

import json
import os
from dataclasses import dataclass

from aetool.errors import UsageError

VARIABLE = "TF_CONFIG"


@dataclass(frozen=True, slots=True)
class Seat:
    """One of the processes that train a model together.

    Args:
        rank: which, from 0; the first writes the model.
        count: how many there are.
    """

    rank: int = 0
    count: int = 1

    @property
    def together(self) -> bool:
        return self.count > 1

    @property
    def part(self) -> str:
        """What the process calls its share of the output's lock; "" for a process alone."""
        return f"{self.rank + 1}/{self.count}" if self.together else ""


def seat() -> Seat:
    """This process's own.

    Raises:
        UsageError: TF_CONFIG is no JSON of a cluster of workers, or this process is none of them.
    """
    text = os.environ.get(VARIABLE)
    if not text:
        return Seat()
    malformed = UsageError(
        f"{VARIABLE} is no description of a cluster",
        'such as {"cluster": {"worker": ["a:2222", "b:2222"]}, '
        '"task": {"type": "worker", "index": 0}}',
    )
    try:
        document = json.loads(text)
        workers = document["cluster"]["worker"]
        task = document["task"]
        rank = int(task["index"])
    except (ValueError, TypeError, KeyError) as error:
        raise malformed from error
    if not isinstance(workers, list):
        raise malformed
    if set(document["cluster"]) != {"worker"} or task.get("type") != "worker":
        raise UsageError(f"{VARIABLE} names others than workers", "every process is a worker")
    if not 0 <= rank < len(workers):
        raise UsageError(f"{VARIABLE} has {len(workers)} workers, and this is number {rank}")
    return Seat(rank, len(workers))
