"""Rows of Parquet files and of datasets, a batch at a time."""

import datetime
import decimal
import json
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from g2is.errors import InputError, pass_on_too_little_memory
from g2is.examples.features import Decoder
from g2is.examples.lines import COMPRESSIONS, MAX_ROW_BYTES, PARQUET_MAGIC, check_is_file, too_long, unreadable
from g2is.examples.records import Record
from g2is.examples.row_bytes import row_bytes
from g2is.progress import Progress

BATCH_ROWS = 256
BATCH_BYTES = 1 << 24  # of rows that are Python objects at once, unless one row has more
_BUFFER_BYTES = 1 << 16
_NOT_PYTHONS = (ValueError, OverflowError, KeyError)  # what Arrow raises of values; the last of a time zone


def read_parquet(path: Path, progress: Progress | None = None, most: int = MAX_ROW_BYTES) -> Iterator[Record]:
    """Yield a record for each row. `progress(bytes, size)` goes by rows. Raises InputError if it cannot be read.

    A row of more than `most` bytes cannot be used.
    """
    _check_parquet(path)
    try:
        size = path.stat().st_size
        with pq.ParquetFile(path, buffer_size=_BUFFER_BYTES, pre_buffer=False) as file:
            total, names = file.metadata.num_rows, file.schema_arrow.names
            if repeated := sorted({f"`{name}`" for name in names if names.count(name) > 1}):
                raise InputError(
                    f"{path}: expected columns of different names, found {', '.join(repeated)} more than once; rename"
                    " or drop one of each"
                )
            batches = file.iter_batches(_batch_rows(file.metadata))
            for record in _records(batches, Decoder(file.schema_arrow), most):
                yield record
                if progress is not None and (record.line + 1) % BATCH_ROWS == 0:
                    progress(size * record.line // total, size)
        if progress is not None:
            progress(size, size)
    except OSError as error:
        pass_on_too_little_memory(error)
        if error.errno is not None:
            raise unreadable(path, error) from None
        raise _damaged(path, error) from None
    except (pa.ArrowException, UnicodeDecodeError) as error:  # the latter of names and texts that are none
        pass_on_too_little_memory(error)
        raise _damaged(path, error) from None


def read_dataset(
    dataset: Any, size: int, progress: Progress | None = None, most: int = MAX_ROW_BYTES
) -> Iterator[Record]:
    """Yield a record for each row of a `datasets.Dataset`, as `read_parquet`. `progress(bytes, size)` goes by rows."""
    total = len(dataset)
    rows = dataset.with_format("arrow")
    for record in _records(rows.iter(BATCH_ROWS), Decoder(rows.features.arrow_schema), most):
        yield record
        if progress is not None and ((record.line + 1) % BATCH_ROWS == 0 or record.line + 1 == total):
            progress(size * (record.line + 1) // total, size)


def _batch_rows(metadata: pq.FileMetaData) -> int:
    """How many rows are read at once: fewer where they are long on average."""
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    mean = max((group.total_byte_size // max(1, group.num_rows) for group in groups), default=0)
    return max(1, min(BATCH_ROWS, BATCH_BYTES // max(1, mean)))


def _records(batches: Iterable[pa.RecordBatch | pa.Table], decoder: Decoder, most: int) -> Iterator[Record]:
    number = 0
    for batch in batches:
        for values in _rows_that_fit(batch, most):
            if isinstance(values, InputError):
                yield Record(number, b"", values)
            else:
                yield _record(number, values, decoder)
            number += 1


def _rows_that_fit(batch: pa.RecordBatch | pa.Table, most: int) -> Iterator[dict[str, Any] | InputError]:
    sizes = row_bytes(batch)
    if sizes.sum() <= min(most, BATCH_BYTES):
        yield from _rows(batch)
        return
    for index, size in enumerate(sizes.tolist()):
        if size > most:
            yield too_long(size, most)
        else:
            yield from _rows(batch.slice(index, 1))


def _rows(batch: pa.RecordBatch | pa.Table) -> Iterator[dict[str, Any] | InputError]:
    if (fields := [_in_a_known_zone(field) for field in batch.schema]) != [*batch.schema]:
        batch = batch.cast(pa.schema(fields))
    try:
        rows = batch.to_pylist()
    except _NOT_PYTHONS:  # some row's text is not UTF-8, which Arrow does not check, or a date too far off
        for index in range(batch.num_rows):
            try:
                yield batch.slice(index, 1).to_pylist()[0]
            except UnicodeDecodeError as error:
                yield InputError(f"expected UTF-8 text, found byte 0x{error.object[error.start]:02x}")
            except _NOT_PYTHONS as error:
                yield InputError(f"expected values that Python has, found: {error}")
    else:
        yield from rows


def _in_a_known_zone(field: pa.Field) -> pa.Field:
    """A time in UTC where this machine does not know its zone: the moment is the same."""
    if not pa.types.is_timestamp(field.type) or field.type.tz is None:
        return field
    try:
        pa.scalar(0, field.type).as_py()
    except _NOT_PYTHONS:
        return field.with_type(pa.timestamp(field.type.unit, "UTC"))
    return field


def _record(number: int, values: dict[str, Any], decoder: Decoder) -> Record:
    try:
        decoded, given = decoder.decode(values)
        return Record(number, _to_json(decoded), given)
    except InputError as problem:
        return Record(number, b"", problem)


def _to_json(values: dict[str, Any]) -> bytes:
    try:
        try:
            text = json.dumps(values, ensure_ascii=False, allow_nan=False, default=_plain)
        except ValueError:  # JSON has neither NaN nor infinity
            text = json.dumps(_without_nan(values), ensure_ascii=False, default=_plain)
    except TypeError:
        raise _not_json(values) from None
    return text.encode()


def _not_json(values: dict[str, Any]) -> InputError:
    """What is wrong with the first column that JSON cannot hold."""
    for name, value in values.items():
        try:
            json.dumps(value, default=_plain)
        except TypeError as error:
            return InputError(f"expected text in `{name}`, found {error}; cast it, or leave it out")
    raise AssertionError("expected a column that JSON cannot hold")


def _plain(value: Any) -> str:
    if isinstance(value, datetime.date | datetime.time):  # a datetime is a date
        return value.isoformat()
    if isinstance(value, decimal.Decimal | uuid.UUID | datetime.timedelta):
        return str(value)
    raise TypeError(type(value).__name__)


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not abs(value) < float("inf") else value


def _check_parquet(path: Path) -> None:
    check_is_file(path)
    if path.suffix.lower() in COMPRESSIONS:
        raise InputError(f"{path}: expected Parquet, which is compressed within, found it compressed again; unpack it")
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise InputError(
            f"{path}: expected a path that is UTF-8, as Parquet needs it, found other bytes; rename it"
        ) from None
    try:
        with path.open("rb") as file:
            head = file.read(len(PARQUET_MAGIC))
    except OSError as error:
        raise unreadable(path, error) from None
    if not head:
        raise InputError(f"{path}: expected examples, found an empty file; leave it out, or make it again")
    if head != PARQUET_MAGIC:
        raise InputError(
            f"{path}: expected Parquet from its suffix, found other data (first bytes {head.hex(' ')}); give it the"
            " suffix of what it is, or make it again"
        )


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(
        f"{path}: expected a whole Parquet file, found it truncated or damaged ({error}); copy or download it again"
    )
