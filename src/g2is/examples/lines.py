"""The bytes and lines of a text file, plain or compressed, streamed as they are."""

import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zstandard

from g2is.config import ExamplesConfig
from g2is.errors import InputError
from g2is.progress import Progress

_CHUNK_BYTES = 1 << 16
_MOST_AT_ONCE = 1 << 20  # bytes that are decompressed
_ZSTD_BYTES = 1 << 7  # of which zstd makes at most 4 MiB: a block of 128 KiB has four bytes at least
_UTF8_BOM = b"\xef\xbb\xbf"
COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
PARQUET_MAGIC = b"PAR1"
# What a text file never begins with, and what to do instead.
_NOT_TEXT = {
    PARQUET_MAGIC: ("Parquet", "rename it to end in .parquet"),
    b"ARROW1": ("Arrow", "name the folder that save_to_disk wrote, or convert it to Parquet"),
    b"PK\x03\x04": ("zip", "unpack it (a spreadsheet: save it as CSV in UTF-8)"),
    b"BZh": ("bzip2", "unpack it, or compress it as .gz or .zst"),
    b"\xfd7zXZ": ("xz", "unpack it, or compress it as .gz or .zst"),
    b"\xff\xfe": ("UTF-16", "convert it to UTF-8"),
    b"\xfe\xff": ("UTF-16", "convert it to UTF-8"),
}
_HEAD_BYTES = max(map(len, _NOT_TEXT))


MAX_ROW_BYTES: int = ExamplesConfig.model_fields["max_row_bytes"].default


@dataclass(frozen=True)
class TooLong:
    """A line of more bytes than a row may have: how many, and how many quotes (") are among them."""

    size: int
    quotes: int


def too_long(size: int, most: int) -> InputError:
    """What is wrong with a row of `size` bytes where `most` are allowed."""
    return InputError(
        f"expected a row of at most {most} bytes (examples.max_row_bytes), found one of {size}; shorten it or leave it"
        f" out, or give it room with --set examples.max_row_bytes={size}"
    )


def read_lines(
    path: Path, progress: Progress | None = None, most: int = MAX_ROW_BYTES
) -> Iterator[tuple[int, bytes | TooLong]]:
    r"""Yield (1-based line number, bytes without the final \n) of every line of `path` that is not blank.

    A \r before the \n belongs to the line and stays. Of a line of more than `most` bytes only the size is kept. Raises
    InputError as `read_text`.
    """
    for number, line in enumerate(split_lines(read_text(path, progress), most), start=1):
        if isinstance(line, TooLong) or line.strip():
            yield number, line


def split_lines(chunks: Iterator[bytes], most: int = MAX_ROW_BYTES) -> Iterator[bytes | TooLong]:
    r"""Yield the lines of the joined chunks, blank ones too, without their \n; no more than `most` bytes of one."""
    # Pieces are joined once a line is whole, so that one very long line does not cost quadratic copying.
    pieces: list[bytes] = []
    size = quotes = 0  # of the pieces, and of those let go

    def line() -> bytes | TooLong:
        nonlocal size, quotes
        whole = TooLong(size, quotes) if size > most else b"".join(pieces)
        pieces.clear()
        size = quotes = 0
        return whole

    def add(piece: bytes) -> None:
        nonlocal size, quotes
        size += len(piece)
        quotes += piece.count(b'"')
        pieces.append(piece)
        if size > most:
            pieces.clear()

    for chunk in chunks:
        begin = 0
        while (end := chunk.find(b"\n", begin)) >= 0:
            if size or end - begin > most:
                add(chunk[begin:end])
                yield line()
            else:
                yield chunk[begin:end]
            begin = end + 1
        if begin < len(chunk):
            add(chunk[begin:])
    if size:
        yield line()


def read_text(path: Path, progress: Progress | None = None) -> Iterator[bytes]:
    """Yield the bytes of a text file in chunks, decompressed, without a UTF-8 byte order mark.

    The suffix (.gz, .zst, else plain) says how to decompress. `progress(bytes_read, file_size)` counts bytes on disk.
    Raises InputError if the file is missing, empty, not text, not what its suffix says, truncated or corrupt.
    """
    chunks = _decompressed(path, progress)
    head = b""
    for chunk in chunks:
        head += chunk
        if len(head) >= _HEAD_BYTES:
            break
    for magic, (found, remedy) in _NOT_TEXT.items():
        if head.startswith(magic):
            raise InputError(
                f"{path}: expected UTF-8 text from its suffix, found {found} data (first bytes {head[:4].hex(' ')});"
                f" {remedy}"
            )
    yield head.removeprefix(_UTF8_BOM)
    yield from chunks


def digest(path: Path) -> str:
    """Return the sha256 of the file's bytes in hexadecimal. Raises InputError if it cannot be read."""
    check_is_file(path)
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise unreadable(path, error) from None


def check_is_file(path: Path) -> None:
    """Raise InputError unless `path` is a regular file."""
    if path.is_dir():
        raise InputError(
            f"{path}: expected a file, found a folder that is no dataset of save_to_disk; name its files, such as"
            f" '{path}/*.jsonl'"
        )
    if not path.exists():
        raise InputError(f"{path}: expected a file, found none; check the path (current folder: {Path.cwd()})")
    if not path.is_file():
        raise InputError(f"{path}: expected a regular file (it is read more than once), found something else")


def unreadable(path: Path, error: OSError) -> InputError:
    """The error of a file that the system will not give."""
    return InputError(f"{path}: expected a readable file, found: {error.strerror or error}; check its permissions")


def _decompressed(path: Path, progress: Progress | None) -> Iterator[bytes]:
    chunks = _chunks(path, progress)
    compression = COMPRESSIONS.get(path.suffix.lower())
    if compression is None:
        yield from chunks
        return
    decompressor: Any = None
    try:
        for chunk in chunks:
            data = memoryview(chunk)
            while data:
                if decompressor is None:
                    data = memoryview(bytes(data).lstrip(b"\0"))  # tape padding between members, which gzip too skips
                    if not data:
                        break
                    decompressor = _new_decompressor(compression)
                # a little at a time: a few bytes may be gigabytes
                if compression == "gzip":
                    yield decompressor.decompress(data, _MOST_AT_ONCE)
                    left = decompressor.unused_data if decompressor.eof else decompressor.unconsumed_tail
                    data = data[len(data) - len(left) :]
                else:
                    num = min(len(data), _ZSTD_BYTES)
                    yield decompressor.decompress(data[:num])
                    data = data[num - len(decompressor.unused_data if decompressor.eof else b"") :]
                if decompressor.eof:
                    decompressor = None
    except (zlib.error, zstandard.ZstdError) as error:
        if "too much memory" in str(error):
            raise InputError(
                f"{path}: expected zstd data that is read with a window of at most 128 MiB, found a wider one; compress"
                " it again without --long"
            ) from None
        raise InputError(
            f"{path}: expected {compression} data, found corrupt bytes ({error}); copy or download the file again"
        ) from None
    if decompressor is not None:
        raise InputError(
            f"{path}: expected the end of the {compression} data, found the end of the file first: it is truncated; "
            "copy or download it again"
        )


def _new_decompressor(compression: str) -> Any:
    if compression == "gzip":
        return zlib.decompressobj(wbits=31)
    # stream_reader would end silently at a truncated frame; decompressobj says whether the frame was whole.
    return zstandard.ZstdDecompressor().decompressobj()


def _chunks(path: Path, progress: Progress | None) -> Iterator[bytes]:
    check_is_file(path)
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            done = 0
            while chunk := file.read(_CHUNK_BYTES):
                if done == 0:
                    _check_compression(path, chunk)
                done += len(chunk)
                yield chunk
                if progress is not None:
                    progress(min(done, size), size)
    except OSError as error:
        raise unreadable(path, error) from None
    if done == 0:
        raise InputError(f"{path}: expected examples, found an empty file; leave it out, or make it again")


def _check_compression(path: Path, head: bytes) -> None:
    found = None
    if head.startswith(b"\x1f\x8b"):
        found = "gzip"
    elif head.startswith(b"\x28\xb5\x2f\xfd") or (head[1:4] == b"\x2a\x4d\x18" and head[0] >> 4 == 5):
        found = "zstd"  # or a skippable frame, with which zstd data may begin
    expected = COMPRESSIONS.get(path.suffix.lower())
    if found != expected:
        suffix = next((s for s, name in COMPRESSIONS.items() if name == found), ".jsonl")
        raise InputError(
            f"{path}: expected {expected or 'plain text'} from its suffix, found {found or 'other'} data "
            f"(first bytes {head[:4].hex(' ')}); rename it to end in {suffix}, or make it again"
        )
