"""Shards of one run over a SOURCE, done apart, and what their files say so that they can be joined.

Light: the command line parses with it.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from aetool.errors import UsageError

_SHARD = re.compile(r"([1-9][0-9]{0,8})/([1-9][0-9]{0,8})")
_PART = re.compile(rf"{_SHARD.pattern} of (0|[1-9][0-9]{{0,18}}), run ([0-9a-f]{{16}})")


@dataclass(frozen=True, slots=True)
class Shard:
    """One of several equal shares of the pictures of a SOURCE.

    Args:
        number: which one, from 1.
        count: how many there are.
    """

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Read "2/8".

        Raises:
            UsageError: it is not I/N with I from 1 to N.
        """
        match = _SHARD.fullmatch(text.strip())
        if not match or int(match[1]) > int(match[2]):
            raise UsageError(
                f"--shard {text} is not I/N", "2/8 is the second of eight; I is 1 to N"
            )
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def rows(self, pictures: int) -> range:
        """The positions that are its own: those whose remainder modulo `count` is number - 1."""
        return range(self.number - 1, pictures, self.count)


@dataclass(frozen=True, slots=True)
class Part:
    """What the file of a shard says of itself.

    Args:
        shard: the one it holds.
        pictures: in SOURCE, all shards together.
        run: 16 hexadecimal digits that all shards of one run share; see `run_digest`.
    """

    shard: Shard
    pictures: int
    run: str

    @classmethod
    def parse(cls, text: str) -> "Part | None":
        """Undo `str`; None for any other text."""
        match = _PART.fullmatch(text)
        if not match or int(match[1]) > int(match[2]):
            return None
        return cls(Shard(int(match[1]), int(match[2])), int(match[3]), match[4])

    def __str__(self) -> str:
        return f"{self.shard} of {self.pictures}, run {self.run}"


def run_digest(names: Iterable[str], settings: Iterable[object]) -> str:
    """What two shards must agree in to belong together, as 16 hexadecimal digits.

    Args:
        names: of all pictures of SOURCE, in order.
        settings: of the command: its model, and options that change the numbers.
    """
    digest = hashlib.sha256()
    for field in (*map(str, settings), "", *names):
        encoded = field.encode("utf-8", "surrogateescape")
        digest.update(len(encoded).to_bytes(8, "little") + encoded)
    return digest.hexdigest()[:16]
