"""A file of texts and labels, CSV, TSV or JSON Lines, for a model that classifies texts."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from keeprate.data.text_files import read_text
from keeprate.dataset import Sample, TextDataSet
from keeprate.errors import KeeprateError, suggestion

DELIMITERS = {".csv": ",", ".tsv": "\t"}
JSON_LINES = (".jsonl", ".ndjson")
LONGEST = 2**31 - 1
"""Characters of a value in a table: as many as csv can count."""


@dataclass(frozen=True)
class TextRow:
    """A text and its label as they stand in the file, and the number of the line they begin on."""

    line: int
    text: str
    label: str


class TextFile(TextDataSet):
    """A CSV, TSV or JSON Lines file with a text and a label in each row.

    The first line of a CSV or TSV file names the columns. All labels are names of the model's
    classes, or all are class indices from 0. Sample ids are line numbers.
    """

    name: ClassVar[str] = "text-file"

    def __init__(
        self,
        file: Path,
        text_column: str = "text",
        label_column: str = "label",
        max_length: int | None = None,
    ) -> None:
        self.file = file
        self.text_column = text_column
        self.label_column = label_column
        self.max_length = max_length
        self._rows: tuple[TextRow, ...] = ()
        self._samples: tuple[Sample, ...] | None = None

    def bind(self, num_classes: int, label_names: Sequence[str] | None) -> None:
        self._rows = tuple(read_rows(self.file, self.text_column, self.label_column))
        if not self._rows:
            raise KeeprateError(f"'{self.file}' has no row.")
        labels = class_indices(self.file, self._rows, num_classes, label_names)
        pairs = zip(self._rows, labels, strict=True)
        self._samples = tuple(Sample(f"line-{row.line:07d}", label) for row, label in pairs)

    def samples(self) -> Sequence[Sample]:
        if self._samples is None:
            raise RuntimeError("bind() comes before samples(): it is what gives the labels")
        return self._samples

    def text(self, index: int) -> str:
        return self._rows[index].text

    def bad_samples(self) -> Mapping[str, str]:
        pairs = zip(self.samples(), self._rows, strict=True)
        return {sample.id: "empty text" for sample, row in pairs if not row.text.strip()}


def read_rows(file: Path, text: str, label: str) -> Iterator[TextRow]:
    """Yield the rows of a file, whose columns `text` and `label` are read.

    Raises KeeprateError for a file or column that is not there, and for a line that cannot be read.
    """
    if not file.is_file():
        raise KeeprateError(f"No file '{file}'. Give a CSV, TSV or JSON Lines file.")
    suffix = file.suffix.lower()
    if suffix not in DELIMITERS and suffix not in JSON_LINES:
        known = ", ".join([*DELIMITERS, *JSON_LINES])
        raise KeeprateError(f"What is in '{file}' is told by its ending, which is none of {known}.")
    lines = _json_lines(file) if suffix in JSON_LINES else _table(file, DELIMITERS[suffix])
    for number, values in lines:
        fields = [_value(file, number, values, column) for column in (text, label)]
        yield TextRow(number, fields[0], fields[1])


def class_indices(
    file: Path, rows: Sequence[TextRow], num_classes: int, names: Sequence[str] | None
) -> list[int]:
    """Return the class index of every row's label, by name or by number, for all rows alike.

    Raises KeeprateError for a label that is neither.
    """
    class_names = list(names or ())
    numbers = {str(index): index for index in range(num_classes)}
    if all(row.label in class_names for row in rows):
        _refuse_ambiguous(file, rows, class_names, numbers)
        _refuse_repeated(file, rows, class_names)
        return [class_names.index(row.label) for row in rows]
    for row in rows:
        if row.label not in numbers:
            raise _unknown_label(
                file, row, num_classes, [n for n in class_names if n not in numbers]
            )
    return [numbers[row.label] for row in rows]


def _refuse_ambiguous(
    file: Path, rows: Sequence[TextRow], names: Sequence[str], numbers: Mapping[str, int]
) -> None:
    """Raise KeeprateError where all labels are names and indices too, of different classes."""
    if not all(row.label in numbers for row in rows):
        return
    for row in rows:
        if names.index(row.label) != numbers[row.label]:
            raise KeeprateError(
                f"Line {row.line} of '{file}': label '{row.label}' names class "
                f"{names.index(row.label)} of the model and is the index of another: give the "
                "classes names that are no numbers."
            )


def _refuse_repeated(file: Path, rows: Sequence[TextRow], names: Sequence[str]) -> None:
    """Raise KeeprateError for a label that is the name of several classes."""
    repeated = {name for name, times in Counter(names).items() if times > 1}
    for row in rows:
        if row.label in repeated:
            indices = [str(index) for index, name in enumerate(names) if name == row.label]
            raise KeeprateError(
                f"Line {row.line} of '{file}': label '{row.label}' names several classes of the "
                f"model ({', '.join(indices)}): write class indices from 0 throughout."
            )


def _unknown_label(
    file: Path, row: TextRow, num_classes: int, names: Sequence[str]
) -> KeeprateError:
    what = f"Line {row.line} of '{file}': label '{row.label}' is no"
    number = f"number from 0 to {num_classes - 1}"
    if not names:
        return KeeprateError(f"{what} {number}.")
    if row.label in names:
        return KeeprateError(f"{what} {number}, as labels before it are: use one kind throughout.")
    return KeeprateError(f"{what} class of the model. {suggestion(row.label, names)}")


def _table(file: Path, delimiter: str) -> Iterator[tuple[int, Mapping[str, object]]]:
    """Yield the number of the line that each row of a table begins on, and its values by column."""
    reader = csv.reader(io.StringIO(read_text(file), newline=""), delimiter=delimiter, strict=True)
    begins, header = 1, None
    # a setting of the whole process, which is put back below
    earlier_limit = csv.field_size_limit(LONGEST)
    try:
        for fields in reader:
            line, begins = begins, reader.line_num + 1
            if header is None:
                header = _header(file, fields)
            elif fields and len(fields) != len(header):
                raise KeeprateError(
                    f"Line {line} of '{file}' has {len(fields)} values for {len(header)} columns."
                )
            elif fields:
                yield line, dict(zip(header, fields, strict=True))
    except csv.Error as error:
        raise KeeprateError(f"Line {reader.line_num} of '{file}': {error}.") from error
    finally:
        csv.field_size_limit(earlier_limit)


def _header(file: Path, columns: list[str]) -> list[str]:
    twice = next((name for name in columns if columns.count(name) > 1), None)
    if twice is not None:
        raise KeeprateError(f"'{file}' has several columns '{twice}'.")
    return columns


def _json_lines(file: Path) -> Iterator[tuple[int, Mapping[str, object]]]:
    """Yield the number of each line that is not blank, and the JSON object on it."""
    for number, line in enumerate(io.StringIO(read_text(file), newline=None), start=1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise KeeprateError(f"Line {number} of '{file}' is not JSON: {error}.") from error
        if not isinstance(values, dict):
            raise KeeprateError(f"Line {number} of '{file}' is no JSON object.")
        yield number, values


def _value(file: Path, line: int, values: Mapping[str, object], column: str) -> str:
    """Return the text, or the whole number as text, in a column of one row."""
    if column not in values:
        raise KeeprateError(
            f"No column '{column}' on line {line} of '{file}'. {suggestion(column, values)}"
        )
    value = values[column]
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise KeeprateError(
            f"Line {line} of '{file}': {column} must be text or a whole number, not {value!r}."
        )
    return str(value)
