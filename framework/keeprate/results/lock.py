"""One writer per store: a second process is told who writes, and ends."""

from __future__ import annotations

import os
import shlex
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout
from pydantic import AwareDatetime, BaseModel, ValidationError

from ..errors import KeeprateError
from .atomic_files import explained, write_together


class Owner(BaseModel):
    """Who writes to a store: which process, on which machine, since when, called how."""

    host: str
    pid: int
    since: AwareDatetime
    command: str

    def __str__(self) -> str:
        began = self.since.astimezone()
        today = began.date() == datetime.now().astimezone().date()
        time = began.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M:%S")
        return f"process {self.pid} on {self.host} since {time} ({self.command})"


@contextmanager
def locked(
    folder: Path, remedy: str = "wait for it, or choose another folder with --name"
) -> Iterator[None]:
    """Keep other processes from writing to the store in `folder`, which is made if need be.

    The system itself gives the lock back when the process ends, however it ends. Raises
    KeeprateError, at once, if another process (or this one) holds it, naming the holder and then
    the `remedy`; and for a folder that cannot be written to, as `atomic.explained` says it.
    """
    path = folder / ".lock"
    lock = FileLock(path)
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        path.touch()  # filelock takes some folders that cannot be written to for locked ones
        if not _taken(lock):
            holder = owner(folder) or "another process"
            raise KeeprateError(f"{folder} is being written to by {holder}: {remedy}.")
    try:
        _sign(folder)
        yield
    finally:
        with suppress(OSError):
            _signature(folder).unlink(missing_ok=True)
        lock.release()


def _taken(lock: BaseFileLock) -> bool:
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return False
    return True


def owner(folder: Path) -> Owner | None:
    """Who took the lock of a store last and has not given it back, None if that is not known."""
    try:
        return Owner.model_validate_json(_signature(folder).read_bytes())
    except (OSError, ValidationError):
        return None


def _signature(folder: Path) -> Path:
    return folder / ".lock-owner"


def _sign(folder: Path) -> None:
    """Leave word of who holds the lock; a full disk must not keep anyone from removing runs."""
    now = datetime.now().astimezone()
    signed = Owner(host=socket.gethostname(), pid=os.getpid(), since=now, command=_command())
    with suppress(KeeprateError):
        write_together({_signature(folder): signed.model_dump_json().encode()})


def _command() -> str:
    program = Path(sys.argv[0])
    name = program.parent.name if program.name == "__main__.py" else program.name
    return shlex.join([name, *sys.argv[1:]])
