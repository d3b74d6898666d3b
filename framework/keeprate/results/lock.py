"""Allow one writer per store: a second process ends with a message that names the first."""

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
    """The process that writes to a store: its machine, id, start and command line."""

    host: str
    pid: int
    since: AwareDatetime
    command: str

    def __str__(self) -> str:
        start = self.since.astimezone()
        today = start.date() == datetime.now().astimezone().date()
        time = start.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M:%S")
        return f"process {self.pid} on {self.host} since {time} ({self.command})"


@contextmanager
def locked(
    folder: Path, remedy: str = "wait for it, or choose another folder with --name"
) -> Iterator[None]:
    """Keep other processes from writing to the store in `folder`, which is made if needed.

    The system itself releases the lock when the process ends, even if it is killed. Raises
    KeeprateError at once if another process (or this one) holds the lock; the message names the
    holder and the `remedy`. Raises it as well for a folder that cannot be written to.
    """
    path = folder / ".lock"
    lock = FileLock(path)
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        path.touch()  # filelock takes some folders that cannot be written to for locked ones
        if not _acquire(lock):
            holder = owner(folder) or "another process"
            raise KeeprateError(f"{folder} is being written to by {holder}: {remedy}.")
    try:
        _write_signature(folder)
        yield
    finally:
        # before the release: afterwards it may be the signature of the next writer
        with suppress(OSError):
            _signature(folder).unlink(missing_ok=True)
        lock.release()


def _acquire(lock: BaseFileLock) -> bool:
    # a study may write for hours: who comes second is told so instead of waiting
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return False
    return True


def owner(folder: Path) -> Owner | None:
    """Return the last process that took the lock and did not release it, None if unknown."""
    try:
        return Owner.model_validate_json(_signature(folder).read_bytes())
    except (OSError, ValidationError):
        return None


def _signature(folder: Path) -> Path:
    return folder / ".lock-owner"


def _write_signature(folder: Path) -> None:
    """Write down which process holds the lock."""
    now = datetime.now().astimezone()
    signer = Owner(host=socket.gethostname(), pid=os.getpid(), since=now, command=_command_line())
    # the signature only serves messages: a full disk must not keep anyone from removing runs
    with suppress(KeeprateError):
        write_together({_signature(folder): signer.model_dump_json().encode()})


def _command_line() -> str:
    program = Path(sys.argv[0])
    # `python -m keeprate` runs keeprate/__main__.py
    name = program.parent.name if program.name == "__main__.py" else program.name
    return shlex.join([name, *sys.argv[1:]])
