"""Read the text files that users write: labels, tables, studies, whatever editor saved them."""

from __future__ import annotations

import codecs
from pathlib import Path

from ..errors import KeeprateError


def read_text(path: Path) -> str:
    """Return the text of a file in UTF-8, or in UTF-16 with a byte order mark, without the mark.

    Line endings stay as they are. Raises KeeprateError, with the number of the line where there is
    one, for a file that cannot be read or is in another encoding.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise KeeprateError(f"Cannot read '{path}': {error.strerror}.") from error
    # the mark of UTF-32 begins with that of UTF-16
    if data.startswith(codecs.BOM_UTF32_LE) or b"\0" in data[:2]:
        raise KeeprateError(f"'{path}' is not UTF-8 text. Save it as UTF-8.")
    marks = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    encoding = "utf-16" if data.startswith(marks) else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise KeeprateError(
            f"Line {line} of '{path}' is not UTF-8 text. Save it as UTF-8."
        ) from error
