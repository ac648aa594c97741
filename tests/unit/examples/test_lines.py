import gzip
import hashlib
from pathlib import Path

import pytest
import zstandard

from g2is.errors import InputError
from g2is.examples.lines import digest, read_lines

TEXT = b'{"a": 1}\n\n  \n{"b": 2}\r\n{"c": 3}'
LINES = [(1, b'{"a": 1}'), (4, b'{"b": 2}\r'), (5, b'{"c": 3}')]


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("pool.jsonl", TEXT),
        ("pool.jsonl.gz", gzip.compress(TEXT, mtime=0)),
        ("pool.jsonl.GZ", gzip.compress(TEXT, mtime=0)),
        ("pool.jsonl.zst", zstd(TEXT)),
        ("members.gz", gzip.compress(TEXT[:11], mtime=0) + gzip.compress(TEXT[11:], mtime=0) + b"\0" * 512),
        ("frames.zst", zstd(TEXT[:11]) + zstd(TEXT[11:])),
        ("skippable.zst", b"\x50\x2a\x4d\x18\x02\x00\x00\x00hi" + zstd(TEXT)),
    ],
)
def test_lines_are_the_same_however_the_file_is_compressed(tmp_path: Path, name: str, data: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    assert list(read_lines(path)) == LINES


def test_a_byte_order_mark_is_not_part_of_the_first_line(tmp_path: Path) -> None:
    path = tmp_path / "bom.jsonl"
    path.write_bytes(b"\xef\xbb\xbf{}\n\xef\xbb\xbf{}\n")
    assert list(read_lines(path)) == [(1, b"{}"), (2, b"\xef\xbb\xbf{}")]


def test_only_newlines_end_a_line(tmp_path: Path) -> None:
    path = tmp_path / "separators.jsonl"
    line = '{"a": "\u2028\u0085\x0c"}'.encode()
    path.write_bytes(line + b"\r" + line + b"\n")
    assert list(read_lines(path)) == [(1, line + b"\r" + line)]


def test_a_line_longer_than_many_chunks_stays_whole(tmp_path: Path) -> None:
    path = tmp_path / "long.jsonl.gz"
    lines = [b"a" * 300_000, b"b", b"c" * 70_000]
    path.write_bytes(gzip.compress(b"\n".join(lines)))
    assert [line for _, line in read_lines(path)] == lines


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("cut.gz", gzip.compress(TEXT * 100, mtime=0)[:-9], "truncated"),
        ("cut.zst", zstd(TEXT * 100)[:-5], "truncated"),
        ("one.zst", zstd(TEXT) + zstd(TEXT)[:6], "truncated"),
        ("bad.gz", gzip.compress(TEXT, mtime=0)[:-8] + b"\1" * 8, "corrupt"),
        ("bad.zst", zstd(TEXT)[:-4] + b"\1" * 4, "corrupt"),
        ("tail.gz", gzip.compress(TEXT, mtime=0) + b"garbage", "corrupt"),
        ("plain.gz", TEXT, "expected gzip from its suffix, found other data"),
        ("plain.zst", TEXT, "expected zstd"),
        ("zstd.gz", zstd(TEXT), r"found zstd data .*rename it to end in \.zst"),
        (
            "gzip.jsonl",
            gzip.compress(TEXT, mtime=0),
            r"expected plain text .*found gzip data .*rename it to end in \.gz",
        ),
        ("empty.jsonl", b"", "found an empty file"),
        ("empty.gz", b"", "found an empty file"),
        ("table.jsonl", b"PAR1" + bytes(40), r"found Parquet data .*rename it to end in \.parquet"),
        ("table.csv.gz", gzip.compress(b"PAR1" + bytes(40), mtime=0), "found Parquet data"),
        ("sheet.csv", b"PK\x03\x04" + bytes(40), "found zip data .*unpack it"),
        ("arrow.json", b"ARROW1" + bytes(40), "found Arrow data"),
        ("old.jsonl", b"BZh91AY" + bytes(40), "found bzip2 data"),
        ("old.jsonl.zst", zstd(b"\xfd7zXZ" + bytes(40)), "found xz data"),
        ("wide.json", '{"a": 1}'.encode("utf-16"), "found UTF-16 data .*convert it"),
    ],
)
def test_a_damaged_file_gives_one_error_that_names_it(tmp_path: Path, name: str, data: bytes, expected: str) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(InputError, match=expected) as error:
        list(read_lines(path))
    assert str(path) in str(error.value)


@pytest.mark.parametrize("use", [lambda path: list(read_lines(path)), digest])
def test_a_missing_file_and_a_folder_are_told_apart(tmp_path: Path, use: object) -> None:
    assert callable(use)
    with pytest.raises(InputError, match="found none"):
        use(tmp_path / "nowhere.jsonl")
    with pytest.raises(InputError, match="found a folder"):
        use(tmp_path)


def test_progress_counts_bytes_on_disk_up_to_the_file_size(tmp_path: Path) -> None:
    path = tmp_path / "pool.jsonl"
    path.write_bytes(b"x" * 99 + b"\n" + b"y" * 150_000)
    seen: list[tuple[int, int]] = []
    list(read_lines(path, lambda done, total: seen.append((done, total))))
    assert [done for done, _ in seen] == [65_536, 131_072, 150_100]
    assert {total for _, total in seen} == {150_100}


def test_digest_is_the_sha256_of_the_bytes_on_disk(tmp_path: Path) -> None:
    path = tmp_path / "pool.jsonl.gz"
    path.write_bytes(gzip.compress(TEXT, mtime=0))
    assert digest(path) == hashlib.sha256(path.read_bytes()).hexdigest()
