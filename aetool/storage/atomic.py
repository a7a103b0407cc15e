"""Whole files or none: a reader sees the old file or the new one, and one run owns an output."""

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from aetool.errors import OutputError

_TEMPORARY = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{8}\.aetool-part(\.[^.]*)?", re.DOTALL)
_STALE_SECONDS = 24 * 3600
# The names under which a shell's redirections are reached: written through, never renamed over.
_STREAMS = ("/dev/stdout", "/dev/stderr", "/dev/fd/", "/proc/")
FOLDER_LOCK = ".aetool-lock"  # inside an output that is a folder; no output's .NAME.lock
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write a file beside its final name and put it in place only when it is whole.

    The temporary file is hidden, has the suffix of `path`, is created empty, and gets the mode of
    the file it replaces or, for a new file, the one the umask gives. Missing parent folders are
    made. A symbolic link stays: the file it points to is replaced. A device, a pipe or
    /dev/stdout cannot be replaced, so the finished bytes are copied to it.

    Args:
        path: the file to write.

    Yields:
        The temporary path to write to. It is renamed to `path` when the body ends, and removed
        when the body raises.

    Raises:
        OutputError: the file cannot be written, or the disk is full.
    """
    path = Path(path)
    if _is_stream(path):
        with tempfile.TemporaryDirectory(prefix="aetool-") as folder:
            temporary = Path(folder, "output" + path.suffix)
            temporary.touch()
            yield temporary
            _copy_to_stream(temporary, path)
        return
    target = Path(os.path.realpath(path)) if os.path.islink(path) else path
    temporary = _create_beside(target, path)
    try:
        try:
            yield temporary
        except OSError as error:
            if error.errno in _FULL:
                raise _cannot_write(path, error) from error
            raise
        with blaming(path):
            _flush_to_disk(temporary)
            os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def blaming(path: Path) -> Iterator[None]:
    """Turn any OSError of the body, which does nothing but write `path`, into an OutputError."""
    try:
        yield
    except OSError as error:
        raise _cannot_write(path, error) from error


@contextlib.contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """`replacing` for a folder: written under a hidden name, then put in place as a whole.

    The folder that stood there is moved aside and removed: between two renames there is none.

    Args:
        path: the folder to write, absent or one that the caller knows may go.

    Yields:
        An empty folder beside it, renamed to `path` when the body ends, removed when it raises.

    Raises:
        OutputError: the folder cannot be made, or the disk is full.
    """
    target = Path(os.path.realpath(path))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        prefix = f".{_label(target)}.{secrets.token_hex(4)}.aetool-part"
        temporary = target.with_name(prefix)
        temporary.mkdir()
    except OSError as error:
        raise _cannot_write(path, error) from error
    aside = target.with_name(f"{prefix}.old")
    try:
        yield temporary
        if target.exists():
            os.rename(target, aside)
        os.rename(temporary, target)
    except OSError as error:
        if error.errno in _FULL:
            raise _cannot_write(path, error) from error
        raise
    finally:
        if aside.exists() and not target.exists():  # stopped between the two
            os.rename(aside, target)
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(aside, ignore_errors=True)


@contextlib.contextmanager
def locked(path: Path, *, part: str = "") -> Iterator[None]:
    """Keep every other run off an output while the body runs.

    The lock is a `flock` on a hidden file beside the output and, where that is a folder, on another
    inside it, so a dead process holds nothing. One of the two is enough for a user who may not
    write in the other's place: whoever may write there as well takes both. Temporary files that
    killed runs left for this output are removed once the lock is held, and in a folder again in the
    end: a worker on another machine may have died meanwhile.

    Args:
        path: the output file or folder; it need not exist.
        part: the share of a folder that this run writes, "2/8": runs that write other shares may
            hold the folder with it, and no run that writes it whole.

    Raises:
        OutputError: another run holds the output, or no lock file can be made.
    """
    path = Path(path)
    if _is_stream(path):
        yield
        return
    target = Path(os.path.realpath(path))
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(_holding(_lock_paths(target), shared=bool(part)))
            if part:
                held.enter_context(_holding(_lock_paths(target, part.replace("/", "-of-"))))
        except BlockingIOError as error:
            raise OutputError(
                f"{path} is being written by another run",
                "wait for it to end, or choose another output",
            ) from error
        except OSError as error:
            raise _cannot_write(path, error) from error
        remove_stale(target)
        yield
        if target.is_dir():
            remove_stale(target)


def remove_stale(path: Path) -> None:
    """Remove temporary files that killed runs left; only for the holder of the output's lock.

    Beside the output every one of its name goes, unless a run holds a folder around it: the same
    file may be under way there. Inside a folder, where other outputs may be, those go that are more
    than a day old, or older than the file they were to become, if no run holds that.
    """
    target = Path(os.path.realpath(path))
    label = _label(target)
    with contextlib.suppress(OSError):
        matches = map(_TEMPORARY.fullmatch, os.listdir(target.parent))
        left = [target.parent / match[0] for match in matches if match and match["name"] == label]
        # Asked when they are listed: whoever begins later has made none of them.
        if left and not any(map(_is_held, target.parents)):
            for temporary in left:
                _remove(temporary)
    for folder, _, names in os.walk(target):
        for match in filter(None, map(_TEMPORARY.fullmatch, names)):
            temporary, final = Path(folder, match[0]), Path(folder, match["name"])
            with contextlib.suppress(OSError):
                if _is_abandoned(temporary, final) and not _is_held(final):
                    temporary.unlink()


def _is_abandoned(temporary: Path, final: Path) -> bool:
    written = os.lstat(temporary).st_mtime
    if written < time.time() - _STALE_SECONDS:
        return True
    # Whoever writes the same file again has taken over from its writer.
    return final.exists() and os.stat(final).st_mtime > written


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink()


def _is_stream(path: Path) -> bool:
    """Whether bytes can only be written through `path`, not renamed to it."""
    if os.path.abspath(path).startswith(_STREAMS):
        return True
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _copy_to_stream(source: Path, path: Path) -> None:
    try:
        # Appending keeps what `>> log` already holds.
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
        with open(source, "rb") as whole, open(descriptor, "wb") as stream:
            shutil.copyfileobj(whole, stream, 1 << 20)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _cannot_write(path, error) from error


def _label(target: Path) -> str:
    """The output's name inside its temporary and lock names, kept within 255 bytes."""
    encoded = os.fsencode(target.name)
    return target.name if len(encoded) <= 200 else hashlib.sha256(encoded).hexdigest()


def _create_beside(target: Path, path: Path) -> Path:
    suffix = path.suffix if len(os.fsencode(path.suffix)) <= 16 else ""
    name = f".{_label(target)}.{secrets.token_hex(4)}.aetool-part{suffix}"
    temporary = target.parent / name
    try:
        mode = _mode(target)
        if mode is not None and stat.S_ISDIR(mode):
            message, hint = f"cannot write {path}: it is a folder", "name a file in it"
            raise OutputError(message, hint) from IsADirectoryError(errno.EISDIR, message)
        if mode is not None and not os.access(target, os.W_OK):
            message = f"cannot write {path}: it is read-only"
            raise OutputError(message) from PermissionError(errno.EACCES, message)
        try:
            _create(temporary)
        except FileNotFoundError:
            target.parent.mkdir(parents=True, exist_ok=True)
            _create(temporary)
    except OSError as error:
        raise _cannot_write(path, error) from error
    if mode is not None:
        with contextlib.suppress(OSError):
            os.chmod(temporary, stat.S_IMODE(mode))
    return temporary


def _mode(path: Path) -> int | None:
    """The mode of a file, or None where there is none."""
    try:
        return os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None


def _create(path: Path) -> None:
    # mkstemp would make a private file; this one gets the mode any new file would have.
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))


def _flush_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _lock_paths(target: Path, part: str = "") -> list[Path]:
    """Beside an output, where it need not exist, and inside a folder, whoever may write above."""
    part = part and f".{part}"
    beside = target.parent / f".{_label(target)}{part}.lock"
    return [beside, target / f"{FOLDER_LOCK}{part}"] if target.is_dir() else [beside]


@contextlib.contextmanager
def _holding(locks: list[Path], *, shared: bool = False) -> Iterator[None]:
    """Hold those lock files that this user may, at least one, alone or with others."""
    with contextlib.ExitStack() as held:
        refusals = []
        for lock in locks:
            try:
                held.enter_context(_holding_file(lock, shared=shared))
            except BlockingIOError:
                raise
            except OSError as error:
                refusals.append(error)
        if len(refusals) == len(locks):
            raise refusals[0]
        yield


@contextlib.contextmanager
def _holding_file(lock: Path, *, shared: bool) -> Iterator[None]:
    """Hold a lock file; the last holder removes it as it leaves."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    descriptor = _acquire(lock, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # others hold it, it is another's, or the folder is gone
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), os.stat(lock)):  # not one in a new folder
                lock.unlink()
        os.close(descriptor)


def _acquire(lock: Path, kind: int) -> int:
    """Lock the file that bears the name now, which a holder that leaves may just have removed."""
    while True:
        descriptor = _open(lock)
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), os.stat(lock)):
                    return descriptor
        except OSError:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _open(lock: Path) -> int:
    try:
        return os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError:
        with contextlib.suppress(OSError):  # another user's: what can be read can be locked
            return os.open(lock, os.O_RDONLY)
        raise


def _is_held(path: Path) -> bool:
    """Whether a run holds an output now; True also where that cannot be told."""
    for lock in _lock_paths(path):
        try:
            descriptor = os.open(lock, os.O_RDONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            finally:
                os.close(descriptor)
        except FileNotFoundError:
            continue
        except OSError:
            return True
    return False


def _cannot_write(path: Path, error: OSError) -> OutputError:
    reason = os.strerror(error.errno).lower() if error.errno else str(error)
    return OutputError(f"cannot write {path}: {reason}")
