"""What libjpeg and libtiff say of damaged data, which they write to standard error alone."""

from __future__ import annotations

import os
import re
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Final

_DAMAGE: Final = re.compile(
    r"Corrupt JPEG data: .+|Premature end of JPEG file|Inconsistent progression sequence .+"
    # of libtiff; the first is Pillow's name for any TIFF file
    r"|(tempfile\.tif|JPEGLib|_?TIFF\w+|\w+(Decode|Predictor)\w*): (?!Warning, ).+"
)
# of the pixels they say nothing: odd versions, and bytes between the segments of a header
_HARMLESS: Final = re.compile(
    r"Unknown Adobe color transform code .+|Warning: unknown JFIF revision number .+"
    r"|Invalid SOS parameters for sequential JPEG"
    r"|Corrupt JPEG data: \d+ extraneous bytes before marker 0x(e.|fe|db|dd|c[0-2])"
)
# standard error belongs to the whole process
_alone = threading.Lock()


@dataclass
class Heard:
    """What was heard: `damage` is the first sentence on damaged data, "" if there was none."""

    damage: str = ""


@contextmanager
def codec_warnings() -> Iterator[Heard]:
    """Hear what the two say meanwhile, in any thread; everything else is passed on afterwards.

    Both go on after errors in the compressed data, with grey or shifted pixels, and neither
    torchvision nor Pillow returns what they say. So standard error is a file of its own meanwhile,
    for one caller in this process at a time.
    """
    heard = Heard()
    with _alone, _nameless_file() as file:
        usual = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield heard
        finally:
            os.dup2(usual, 2)
            os.close(usual)
            file.seek(0)
            heard.damage = _sort_out(file.read())


def _nameless_file() -> IO[bytes]:
    if hasattr(os, "memfd_create"):  # Linux: much quicker than one on a disk
        return os.fdopen(os.memfd_create("stderr"), "w+b")
    return tempfile.TemporaryFile()


def _sort_out(written: bytes) -> str:
    """Return the first sentence on damage, and write to standard error what is not theirs."""
    damage = ""
    for line in written.splitlines(keepends=True):
        text = line.decode(errors="replace").strip()
        if _HARMLESS.fullmatch(text):
            continue
        if _DAMAGE.fullmatch(text):
            damage = damage or text
        else:
            os.write(2, line)
    return damage
