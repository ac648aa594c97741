"""The lines of a JSONL file, plain or compressed, streamed as the bytes they are."""

import hashlib
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import zstandard

from g2is.errors import InputError
from g2is.progress import Progress

_CHUNK_BYTES = 1 << 16
_UTF8_BOM = b"\xef\xbb\xbf"
_COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}


def read_lines(path: Path, progress: Progress | None = None) -> Iterator[tuple[int, bytes]]:
    r"""Yield (1-based line number, bytes without the final \n) of every line of `path` that is not blank.

    The suffix (.gz, .zst, else plain) says how to decompress. A UTF-8 byte order mark belongs to the file and is left
    out; a \r before the \n belongs to the line and stays. `progress(bytes_read, file_size)` counts bytes on disk.
    Raises InputError if the file is missing, empty, not what its suffix says, truncated or corrupt.
    """
    first = True
    for number, line in enumerate(_split(_decompressed(path, progress)), start=1):
        content = line.removeprefix(_UTF8_BOM) if first else line
        first = False
        if content.strip():
            yield number, content


def digest(path: Path) -> str:
    """Return the sha256 of the file's bytes in hexadecimal. Raises InputError if it cannot be read."""
    _check_is_file(path)
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from None


def _split(chunks: Iterator[bytes]) -> Iterator[bytes]:
    # Pieces are joined once a line is whole, so that one very long line does not cost quadratic copying.
    pieces: list[bytes] = []
    for chunk in chunks:
        *whole, rest = chunk.split(b"\n")
        for line in whole:
            yield b"".join([*pieces, line]) if pieces else line
            pieces.clear()
        if rest:
            pieces.append(rest)
    if pieces:
        yield b"".join(pieces)


def _decompressed(path: Path, progress: Progress | None) -> Iterator[bytes]:
    chunks = _chunks(path, progress)
    compression = _COMPRESSIONS.get(path.suffix.lower())
    if compression is None:
        yield from chunks
        return
    decompressor: Any = None
    try:
        for chunk in chunks:
            data = chunk
            while data:
                if decompressor is None:
                    data = data.lstrip(b"\0")  # tape padding between members, which gzip too skips
                    if not data:
                        break
                    decompressor = _new_decompressor(compression)
                yield decompressor.decompress(data)
                data = decompressor.unused_data if decompressor.eof else b""
                if decompressor.eof:
                    decompressor = None
    except (zlib.error, zstandard.ZstdError) as error:
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
    _check_is_file(path)
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
        raise _unreadable(path, error) from None
    if done == 0:
        raise InputError(f"{path}: expected examples, one JSON object a line, found an empty file")


def _check_is_file(path: Path) -> None:
    if path.is_dir():
        raise InputError(f"{path}: expected a JSONL file, found a folder; name a file in it")
    if not path.exists():
        raise InputError(f"{path}: expected a JSONL file, found none; check the path (current folder: {Path.cwd()})")
    if not path.is_file():
        raise InputError(f"{path}: expected a regular file (it is read more than once), found something else")


def _check_compression(path: Path, head: bytes) -> None:
    found = None
    if head.startswith(b"\x1f\x8b"):
        found = "gzip"
    elif head.startswith(b"\x28\xb5\x2f\xfd") or (head[1:4] == b"\x2a\x4d\x18" and head[0] >> 4 == 5):
        found = "zstd"  # or a skippable frame, with which zstd data may begin
    expected = _COMPRESSIONS.get(path.suffix.lower())
    if found != expected:
        suffix = next((s for s, name in _COMPRESSIONS.items() if name == found), ".jsonl")
        raise InputError(
            f"{path}: expected {expected or 'plain text'} from its suffix, found {found or 'other'} data "
            f"(first bytes {head[:4].hex(' ')}); rename it to end in {suffix}, or make it again"
        )


def _unreadable(path: Path, error: OSError) -> InputError:
    return InputError(f"{path}: expected a readable file, found: {error.strerror or error}; check its permissions")
