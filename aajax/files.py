"""Atomically written files and folders, and advisory locks of folders."""

import contextlib
import datetime
import errno
import json
import logging
import math
import os
import re
import secrets
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from aajax.errors import InputError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

LOCK = ".lock"  # in a folder that is being written
PARTIAL = ".partial-"  # begins the names of what is not whole yet, and has no readers

# gs://, s3:// and others; model:/folder is the name of a player.
_REMOTE = re.compile(r"(?!(https?|model):)[A-Za-z][A-Za-z0-9+.-]+:/")

_log = logging.getLogger(__name__)


def check_local(name: str, path: object) -> None:
    """Raises InputError for the address of a bucket, which is no path.

    Args:
      name: of the argument.
      path: a text or path; anything else is let through.
    """
    if isinstance(path, str | os.PathLike) and _REMOTE.match(os.fspath(path)):
        raise InputError(
            f"{name} is {os.fspath(path)!r}: a path of this machine is needed; a "
            "bucket has one once it is mounted, as gcsfuse and mount-s3 do"
        )


@contextlib.contextmanager
def written(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """A file to write, which takes the place of `path` once the block has ended.

    Until then, and if the block fails, what was there stays. Links are followed. What
    is there and is no file, such as /dev/stdout, is written to directly.

    Raises:
      OSError: that names `path`, if it cannot be written.
    """
    path = Path(path)
    target = Path(os.path.realpath(path))
    with naming(path):
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if target.exists() and not target.is_file():
            with target.open("wb") as file:
                yield file
            return
        partial = target.with_name(PARTIAL + secrets.token_hex(4))
        try:
            with partial.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            partial.replace(target)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def written_folder(folder: str | os.PathLike) -> Iterator[Path]:
    """A folder to fill, whose files get their places in `folder` once all are whole.

    If `folder` is not there yet it appears at once. Otherwise each entry takes the
    place of the one of its name, and others stay.

    Raises:
      OSError: that names `folder`, if it cannot be written.
    """
    folder = Path(folder)
    target = Path(os.path.realpath(folder))
    with naming(folder):
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(PARTIAL + secrets.token_hex(4))
        partial.mkdir()
        try:
            yield partial
            if not target.exists():
                partial.rename(target)
                return
            for entry in sorted(partial.iterdir()):
                if entry.is_dir():
                    shutil.rmtree(target / entry.name, ignore_errors=True)
                entry.replace(target / entry.name)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def write_bytes(path: str | os.PathLike, content: bytes) -> None:
    """Writes a file at once, see `written`."""
    with written(path) as file:
        file.write(content)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes a file at once, in UTF-8, see `written`."""
    write_bytes(path, text.encode())


def write_json(path: str | os.PathLike, value: Any, indent: int = 1) -> None:
    """Writes a JSON file at once, see `written` and `to_json`."""
    write_text(path, to_json(value, indent) + "\n")


def append_text(path: str | os.PathLike, text: str) -> None:
    """Adds to the end of a file, which is made if it is not there.

    Raises:
      OSError: that names `path`, if it cannot be written.
    """
    with naming(Path(path)), open(path, "ab") as file:
        file.write(text.encode())


def os_error(error: Exception, path: str | os.PathLike) -> OSError:
    """What a library that raises errors of its own reports of the operating system.

    Those that are written in Rust or C++ put the number into the text: of a full disk
    "os error 28" or "os_error_code='28'".
    """
    number = getattr(error, "errno", None)
    if number is None:
        found = re.search(r"os[ _]error(?:_code)?[ ='\"]+(\d+)", str(error))
        number = int(found[1]) if found else None
    if number is not None:
        return OSError(number, os.strerror(number), str(path))
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return OSError(errno.EIO, reason, str(path))


def to_json(value: Any, indent: int | None = None) -> str:
    """Strict JSON, for every reader: what is NaN or infinite becomes null."""
    try:
        return json.dumps(value, indent=indent, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value), indent=indent, allow_nan=False)


def is_empty(folder: Path) -> bool:
    """Whether a folder is not there, or holds nothing but what this module leaves."""
    own = LOCK, PARTIAL
    return not folder.exists() or all(
        entry.name.startswith(own) for entry in folder.iterdir()
    )


def check_folder(label: str, folder: Path) -> None:
    """Raises InputError, before any work is done, if no files can be written there.

    Args:
      label: begins the message, as "out is 'a'".
      folder: which need not be there yet.
    """
    try:
        there = next(place for place in (folder, *folder.parents) if place.exists())
        # Only trying tells: not every file system takes files, even of who may do all.
        descriptor, name = tempfile.mkstemp(prefix=PARTIAL, dir=there)
        os.close(descriptor)
        Path(name).unlink(missing_ok=True)
    except OSError as error:
        raise InputError(
            f"{label}: a folder to write to is needed ({error.strerror})"
        ) from error


def check_empty(label: str, folder: Path, kind: str | None = None) -> None:
    """Raises InputError if no files can be written there, or there are some already.

    Args:
      label: begins the message, as "out is 'a'".
      folder: which need not be there yet.
      kind: what the files that are there are none of, in words.
    """
    check_folder(label, folder)
    if not is_empty(folder):
        found = "" if kind is None else f"it holds files that are no {kind}; "
        raise InputError(f"{label}: {found}an empty or new folder is needed")


def clear_partial(folder: Path) -> None:
    """Removes what writers that were killed have left, anywhere in a locked folder."""
    for entry in list(folder.rglob(PARTIAL + "*")):
        if entry.is_dir():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(path: Path, label: str, *, wait: bool = False) -> Iterator[None]:
    """Keeps all others out until the block has ended, other threads too.

    The lock is the operating system's, on a file that says who has it. It is released
    when its holder ends, however that is, so that a file which is left behind locks
    nobody out. Where there are no locks, which is so on Windows and on some network
    file systems, a line is logged and nobody is kept out.

    Args:
      path: of the file; folders on the way are made. All of these are gone afterwards
        unless something else is in the folders.
      label: what is locked, at the beginning of messages.
      wait: for whoever has it, instead of giving up.

    Raises:
      InputError: if somebody else has it, or nothing can be written there.
    """
    check_folder(label, path.parent)
    made = [parent for parent in path.parents if not parent.exists()]
    descriptor = None
    try:
        descriptor = _lock(path, label, wait)
        yield
    finally:
        if descriptor is not None:
            path.unlink(missing_ok=True)  # before it is released: it is still ours
            os.close(descriptor)
        with contextlib.suppress(OSError):
            for parent in made:
                parent.rmdir()


def _lock(path: Path, label: str, wait: bool) -> int | None:
    """The descriptor of the locked file; None where there are no locks."""
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:  # whoever made the folder has just removed it
            continue
        try:
            if not _acquire(descriptor, label, wait):
                path.unlink(missing_ok=True)
                os.close(descriptor)
                return None
            # Its holder may have removed it in between: that file locks nobody out.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                    _sign(descriptor, path)
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _acquire(descriptor: int, label: str, wait: bool) -> bool:
    """Locks the file; whether there are locks at all."""
    if fcntl is None:
        _log.warning("%s: it cannot be locked on this system", label)
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        line = f"{label}: {_holder(descriptor)}"
        if not wait:
            raise InputError(f"{line}; wait until it ends, or choose another") from None
        _log.warning("%s; waiting until it ends", line)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        _log.warning("%s: it cannot be locked there (%s)", label, error.strerror)
        return False
    return True


def _sign(descriptor: int, path: Path) -> None:
    """Says who has the lock, in its file, which is removed if that fails."""
    since = datetime.datetime.now().astimezone().isoformat(" ", "seconds")
    holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": since}
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(holder).encode(), 0)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise os_error(error, path) from error


def _holder(descriptor: int) -> str:
    """Who has the lock, in words."""
    try:
        holder = json.loads(os.pread(descriptor, 4096, 0))
        process = f"process {holder['pid']} on {holder['host']}"
        return f"{process} writes there since {holder['since']}"
    except (ValueError, KeyError, TypeError):  # it has not signed yet
        return "another process writes there"


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Puts the file's name into errors that have none, or that of a partial file."""
    try:
        yield
    except OSError as error:
        name = error.filename
        if name is not None and PARTIAL not in str(name):
            raise
        number, reason = error.errno or errno.EIO, error.strerror or str(error)
        raise OSError(number, reason, str(path)) from error


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(x) for key, x in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(x) for x in value]
    return value
