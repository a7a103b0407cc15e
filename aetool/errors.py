"""What a user did or met, in one line with the next step. Never a bug: those keep a traceback."""

from dataclasses import dataclass


class AetoolError(Exception):
    """Base of every error shown as one line plus a hint.

    Args:
        message: what happened, naming the file or option, without a final full stop.
        hint: what to do next, or None.
    """

    exit_status = 1

    def __init__(self, message: str, hint: str | None = None):
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(AetoolError):
    """Options that parse one by one but make no sense together, or name something unknown."""

    exit_status = 2


class SourceError(AetoolError):
    """A SOURCE that cannot be opened at all."""


class ImageError(AetoolError):
    """One picture that cannot be read: it is reported and left out, and the batch goes on."""


class FormatError(AetoolError):
    """A checkpoint or latents file that is damaged, foreign, newer or does not fit the command."""


class OutputError(AetoolError):
    """An output that cannot be written, must not be replaced, or that another run is writing."""


class TrainingError(AetoolError):
    """A training run that cannot go on: no pictures, a loss that is no number, other options."""


class MissingExtra(AetoolError):
    """A part of aetool that needs packages which were not installed with it.

    Args:
        what: what needs them, such as "writing a.parquet".
        extra: the name under which pip installs them.
    """

    def __init__(self, what: str, extra: str):
        super().__init__(
            f"{what} needs packages that are not installed", f"pip install 'aetool[{extra}]'"
        )


class ClusterError(AetoolError):
    """A cluster that does not answer or has no workers, or one of its processes that was lost."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One input that was left out of the result.

    Args:
        path: the input's name, as the source gives it.
        reason: why, in a few lower-case words.
    """

    path: str
    reason: str


class Interrupted(AetoolError):
    """A run stopped by SIGINT or SIGTERM after it saved what it had; exits 128 + the signal.

    Args:
        signal_number: 2 for SIGINT, 15 for SIGTERM.
    """

    def __init__(self, message: str, hint: str | None = None, *, signal_number: int):
        super().__init__(message, hint)
        self.exit_status = 128 + signal_number
