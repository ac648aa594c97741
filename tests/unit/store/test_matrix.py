import json
from pathlib import Path

import numpy as np
import pytest
import zarr

from g2is.errors import StoreError
from g2is.store.files import write_json
from g2is.store.markers import checksum_of_all
from g2is.store.matrix import RowTable, Shard

ROWS = "epoch-1/less/rows"


def make_shard(num_rows: int, seed: int = 0, dim: int = 12) -> Shard:
    rng = np.random.default_rng(seed)
    arrays: dict[str, np.ndarray] = {
        "num_answer_tokens": np.arange(num_rows, dtype=np.int32),
        "epoch-1/loss": rng.random(num_rows, np.float32),
        "epoch-1/less/norm": rng.random(num_rows, np.float32),
        ROWS: rng.normal(size=(num_rows, dim)).astype(np.float16),
    }
    return Shard(rng.integers(0, 256, (num_rows, 16), dtype=np.uint8), arrays)


def test_rows_come_back_in_the_order_asked_for_across_partial_shards(tmp_path: Path) -> None:
    shards = [make_shard(4, 1), make_shard(3, 2), make_shard(4, 3)]
    table = RowTable(tmp_path, "f", shard_rows=4)
    for number, shard in enumerate(shards):
        table.write(number, shard)
    keys = np.concatenate([shard.key for shard in shards])
    rows = np.concatenate([shard.arrays[ROWS] for shard in shards])
    reopened = RowTable(tmp_path, "f", shard_rows=4)
    order = np.random.default_rng(0).permutation(11)
    assert np.array_equal(reopened.read(ROWS, reopened.positions_of(keys[order])), rows[order])


def test_a_shard_of_zeros_is_stored_like_any_other(tmp_path: Path) -> None:
    table = RowTable(tmp_path, "f", shard_rows=4)
    zeros = make_shard(4, 2)
    zeros.arrays[ROWS][:] = 0
    for number, shard in enumerate([make_shard(4, 1), zeros]):
        table.write(number, shard)
    assert not RowTable(tmp_path, "f", shard_rows=4).read(ROWS, np.arange(4, 8)).any()


def test_rows_lie_in_a_zarr_v3_array_without_compression_and_with_crc32c(tmp_path: Path) -> None:
    table = RowTable(tmp_path, "f", shard_rows=4)
    shard = make_shard(4)
    table.write(0, shard)
    array = zarr.open_array(tmp_path / ROWS, mode="r")
    assert array.metadata.zarr_format == 3
    assert [type(codec).__name__ for codec in array.metadata.codecs] == ["BytesCodec", "Crc32cCodec"]
    assert array.dtype == np.float16
    assert array.chunks == (4, 12)
    assert np.array_equal(array[:], shard.arrays[ROWS])


def test_a_flipped_bit_is_found_and_the_shard_named(tmp_path: Path) -> None:
    table = RowTable(tmp_path, "f", shard_rows=4)
    for number in range(2):
        table.write(number, make_shard(4, number))
    chunk = tmp_path / ROWS / "c/1/0"
    damaged = bytearray(chunk.read_bytes())
    damaged[17] ^= 4
    chunk.write_bytes(damaged)
    assert table.read(ROWS, np.arange(4)).shape == (4, 12)
    with pytest.raises(StoreError, match=r"shard 1 .* damaged .*markers/000001\.json"):
        table.read(ROWS, np.array([0, 5]))


@pytest.mark.parametrize("damage", ["flip", "remove"])
def test_damaged_keys_are_found_before_any_row_is_taken_for_missing(damage: str, tmp_path: Path) -> None:
    table = RowTable(tmp_path, "f", shard_rows=4)
    table.write(0, make_shard(4))
    chunk = tmp_path / "key/c/0/0"
    content = bytearray(chunk.read_bytes())
    content[3] ^= 1
    chunk.write_bytes(content) if damage == "flip" else chunk.unlink()
    with pytest.raises(StoreError, match=r"shard 0 .* damaged"):
        table.positions()


def test_a_missing_chunk_is_damage_and_not_zeros(tmp_path: Path) -> None:
    table = RowTable(tmp_path, "f", shard_rows=4)
    table.write(0, make_shard(4))
    (tmp_path / ROWS / "c/0/0").unlink()
    (tmp_path / ROWS / "c/0").rmdir()
    with pytest.raises(StoreError, match="chunk is missing"):
        table.read(ROWS, np.arange(4))


def test_chunks_without_a_marker_are_swept(tmp_path: Path) -> None:
    table = RowTable(tmp_path, "f", shard_rows=4)
    for number in range(2):
        table.write(number, make_shard(4, number))
    (tmp_path / "markers/000001.json").unlink()
    (tmp_path / "key/c/.0.abc.partial").write_bytes(b"x")
    again = RowTable(tmp_path, "f", shard_rows=4)
    assert again.sweep() == 6  # five arrays' chunks and the partial file
    assert not (tmp_path / ROWS / "c/1").exists()
    assert (tmp_path / ROWS / "c/0").exists()
    assert len(again.positions()) == 4
    assert again.next_shards(3) == [1, 2, 3]


def test_a_shard_that_another_process_stored_meanwhile_stays_as_it_is(tmp_path: Path) -> None:
    """On a GPU two that were given the same part may come to bytes of their own."""
    one, other = (RowTable(tmp_path, "f", shard_rows=4) for _ in range(2))
    shard = make_shard(4)
    one.write(0, shard)
    arrays = {name: values + 1 for name, values in shard.arrays.items()}
    other.write(0, Shard(shard.key, arrays))
    for table in (one, other, RowTable(tmp_path, "f", shard_rows=4)):
        np.testing.assert_array_equal(table.read(ROWS, np.arange(4)), shard.arrays[ROWS])


def test_shards_of_another_fingerprint_are_refused(tmp_path: Path) -> None:
    RowTable(tmp_path, "one", shard_rows=4).write(0, make_shard(4))
    with pytest.raises(StoreError, match="expected a shard made under fingerprint other, found one"):
        RowTable(tmp_path, "other", shard_rows=4)


def test_keys_that_are_not_stored_are_counted(tmp_path: Path) -> None:
    table = RowTable(tmp_path, "f", shard_rows=4)
    shard = make_shard(4)
    table.write(0, shard)
    with pytest.raises(StoreError, match="all 7 rows, found 3 missing"):
        table.positions_of(np.concatenate([shard.key, make_shard(3, 9).key]))


def test_rows_of_another_shape_or_type_than_before_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    table = RowTable(tmp_path, "f", shard_rows=4)
    table.write(0, make_shard(4))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    wide, double = make_shard(4, 1, dim=13), make_shard(4, 2)
    double = Shard(double.key, {**double.arrays, ROWS: double.arrays[ROWS].astype(np.float64)})
    for shard, found in ((wide, r"found \(13,\) and float16"), (double, r"found \(12,\) and float64")):
        with pytest.raises(StoreError, match=rf"less/rows: expected rows of shape \(12,\) and type float16.*{found}"):
            table.write(1, shard)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    table.write(1, make_shard(4, 3))


def test_what_is_left_of_a_first_shard_goes_whole_so_that_other_rows_may_be_stored(tmp_path: Path) -> None:
    RowTable(tmp_path, "one", shard_rows=4).write(0, make_shard(4))
    (tmp_path / "markers/000000.json").unlink()
    other = RowTable(tmp_path, "other", shard_rows=4)
    other.sweep()
    other.write(0, make_shard(4, dim=13))
    assert other.read(ROWS, np.arange(4)).shape == (4, 13)


def two_shards(folder: Path, fingerprint: str = "f", seed: int = 0) -> RowTable:
    table = RowTable(folder, fingerprint, shard_rows=4)
    for number in range(2):
        table.write(number, make_shard(4, seed + number))
    return RowTable(folder, fingerprint, shard_rows=4)


def copied(source: Path, place: Path) -> None:
    place.write_bytes(source.read_bytes())


@pytest.mark.parametrize("name", [ROWS, "epoch-1/loss", "key"])
def test_a_whole_chunk_of_another_shard_is_not_this_one(name: str, tmp_path: Path) -> None:
    table = two_shards(tmp_path)
    inner = "0" if name in (ROWS, "key") else ""
    copied(tmp_path / name / "c/1" / inner, tmp_path / name / "c/0" / inner)
    # the naive reader: zarr takes it without a word
    array = zarr.open_array(tmp_path / name, mode="r")
    assert np.array_equal(array[:4], array[4:])
    with pytest.raises(StoreError, match=r"shard 0 .* not the bytes that were written"):
        table.positions() if name == "key" else table.read(name, np.arange(8))


def test_a_whole_chunk_of_another_array_or_store_is_not_this_one(tmp_path: Path) -> None:
    table, other = two_shards(tmp_path / "one"), tmp_path / "other"
    two_shards(other, "another", seed=7)
    copied(other / ROWS / "c/0/0", tmp_path / "one" / ROWS / "c/0/0")
    with pytest.raises(StoreError, match="not the bytes that were written"):
        table.read(ROWS, np.arange(4))
    copied(tmp_path / "one/epoch-1/loss/c/0", tmp_path / "one/epoch-1/less/norm/c/0")
    with pytest.raises(StoreError, match="not the bytes that were written"):
        table.read("epoch-1/less/norm", np.arange(4))


@pytest.mark.parametrize(("key", "value"), [("shape", [4, 12]), ("shape", [8, 11]), ("data_type", "int16")])
def test_what_an_array_is_comes_from_the_markers_and_not_from_zarr_json(
    key: str, value: object, tmp_path: Path
) -> None:
    table = two_shards(tmp_path)
    metadata = tmp_path / ROWS / "zarr.json"
    content = json.loads(metadata.read_text())
    content[key] = value
    if key == "data_type":
        content["fill_value"] = 0
    metadata.write_text(json.dumps(content))
    with pytest.raises(StoreError, match=r"damaged"):
        table.read(ROWS, np.arange(8))
    assert table.width(ROWS) == 12


def test_a_zarr_json_that_is_none_is_one_message(tmp_path: Path) -> None:
    table = two_shards(tmp_path)
    for content in (b"", b"{}", b"[1", b'{"zarr_format": 3, "node_type": "array"}'):
        (tmp_path / ROWS / "zarr.json").write_bytes(content)
        with pytest.raises(StoreError, match=r"zarr\.json: expected an array of the store, found a damaged file"):
            table.read(ROWS, np.arange(8))


def test_a_shard_of_an_older_store_has_one_checksum_and_is_checked_by_it(tmp_path: Path) -> None:
    two_shards(tmp_path)
    for number in range(2):
        shard = make_shard(4, number)
        total = checksum_of_all({**shard.arrays, "key": shard.key})
        write_json(tmp_path / f"markers/{number:06d}.json", {"fingerprint": "f", "num_rows": 4, "checksum": total})
    table = RowTable(tmp_path, "f", shard_rows=4)
    assert np.array_equal(table.read(ROWS, np.arange(4)), make_shard(4).arrays[ROWS])
    copied(tmp_path / "epoch-1/loss/c/1", tmp_path / "epoch-1/loss/c/0")
    with pytest.raises(StoreError, match="not the bytes that were written"):
        RowTable(tmp_path, "f", shard_rows=4).read("epoch-1/loss", np.arange(4))


@pytest.mark.parametrize(
    "damage", [{"num_rows": 0}, {"num_rows": 5}, {"num_rows": "4"}, {"num_rows": True}, {"arrays": {}}, {"arrays": 3}]
)
def test_a_marker_with_other_contents_is_one_message(damage: dict[str, object], tmp_path: Path) -> None:
    two_shards(tmp_path)
    marker = tmp_path / "markers/000001.json"
    content = json.loads(marker.read_text())
    del content["digest"]  # of the file: what an older version wrote has none
    marker.write_text(json.dumps(content | damage))
    with pytest.raises(StoreError, match=r"000001\.json: expected the marker of a shard of 1 to 4 rows"):
        RowTable(tmp_path, "f", shard_rows=4)
