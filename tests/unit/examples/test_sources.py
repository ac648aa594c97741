import hashlib
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from g2is.errors import InputError
from g2is.examples.sources import Format, describe, find_sources, source_sha256

ROWS = [{"prompt": f"q{n}", "completion": f"a{n}"} for n in range(6)]


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")
    return path


def labels(*locations: str | Path) -> list[str]:
    return [source.label for source in find_sources(list(map(str, locations)))]


@pytest.mark.parametrize(
    ("file", "form", "name"),
    [
        ("gsm8k.dev.jsonl.gz", "JSON lines", "gsm8k.dev"),
        ("flan.NDJSON", "JSON lines", "flan"),
        ("pool.txt", "JSON lines", "pool"),
        ("pool", "JSON lines", "pool"),
        ("alpaca.json.zst", "JSON", "alpaca"),
        ("rows.csv", "CSV", "rows"),
        ("v1.5.parquet", "Parquet", "v1.5"),
    ],
)
def test_the_suffix_tells_the_format_and_the_rest_is_the_name(
    file: str, form: Format, name: str, tmp_path: Path
) -> None:
    (tmp_path / file).write_bytes(b"{}")
    (source,) = find_sources([str(tmp_path / file)])
    assert (source.format, source.name, source.label) == (form, name, str(tmp_path / file))


@pytest.mark.parametrize("file", ["pool.txt", "pool.tsv", "pool"])
def test_a_suffix_that_says_nothing_wants_json(file: str, tmp_path: Path) -> None:
    (tmp_path / file).write_bytes(b"\n question\tanswer\n2+2?\t4\n")
    with pytest.raises(InputError, match=r"expected JSON lines, since .* says nothing else, found text .*save it as"):
        find_sources([str(tmp_path / file)])
    (tmp_path / file).write_bytes(b"\xef\xbb\xbf \n[")  # read_json_lines says what to do with an array
    assert find_sources([str(tmp_path / file)])[0].format == "JSON lines"


def test_a_place_is_a_line_in_text_and_a_row_in_tables(tmp_path: Path) -> None:
    text, table = find_sources([str(touch(tmp_path / "a.csv")), str(touch(tmp_path / "a.parquet"))])
    assert text.place(3) == f"{tmp_path}/a.csv:3"
    assert table.place(3) == f"{tmp_path}/a.parquet: row 3"
    assert describe([text]) == f"{tmp_path}/a.csv"
    assert describe([text, table]) == f"{tmp_path}/a.csv and 1 more"


def test_a_glob_gives_its_files_sorted_and_no_folders(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.jsonl", "deep/er/c.jsonl", "x.txt", ".hidden.jsonl"):
        touch(tmp_path / name)
    (tmp_path / "folder.jsonl").mkdir()
    assert labels(tmp_path / "*.jsonl") == [f"{tmp_path}/a.jsonl", f"{tmp_path}/b.jsonl"]
    assert labels(tmp_path / "**/*.jsonl")[-1] == f"{tmp_path}/deep/er/c.jsonl"
    assert len(labels(tmp_path / "**/*.jsonl")) == 3
    touch(tmp_path / "a[1].jsonl")
    assert labels(tmp_path / "a[1].jsonl") == [f"{tmp_path}/a[1].jsonl"]


def test_files_come_in_the_order_given(tmp_path: Path) -> None:
    paths = [touch(tmp_path / name) for name in ("b.jsonl", "a.jsonl", "c.csv")]
    assert labels(*paths) == list(map(str, paths))


def test_saved_datasets_are_found_with_their_splits(tmp_path: Path) -> None:
    rows = datasets.Dataset.from_list(ROWS)
    rows.save_to_disk(tmp_path / "one")
    datasets.DatasetDict({"train": rows, "test": rows.select([0])}).save_to_disk(tmp_path / "two")
    datasets.DatasetDict({"only": rows}).save_to_disk(tmp_path / "single")
    for location, name, num in (
        ("one", "one", 6),
        ("two:train", "two", 6),
        ("two:test", "two", 1),
        ("single", "single", 6),
    ):
        (source,) = find_sources([str(tmp_path / location)])
        assert (source.format, source.name, len(source.dataset)) == ("dataset", name, num)
        assert source.label == str(tmp_path / location)
        assert source.size > 0
    for location, expected in (
        ("two", rf"expected one of {tmp_path}/two:train, {tmp_path}/two:test; found no split named"),
        ("two:dev", "found no split 'dev'"),
        ("one:train", "found one without"),
    ):
        with pytest.raises(InputError, match=expected):
            find_sources([str(tmp_path / location)])
    (tmp_path / "one/data-00000-of-00001.arrow").unlink()
    with pytest.raises(InputError, match="expected a dataset that the datasets library opens, but"):
        find_sources([str(tmp_path / "one")])


def test_what_the_hub_library_loads_is_found_with_its_splits(tmp_path: Path) -> None:
    folder = tmp_path / "hub"
    folder.mkdir()
    pq.write_table(pa.Table.from_pylist(ROWS), folder / "train.parquet")
    pq.write_table(pa.Table.from_pylist(ROWS[:2]), folder / "test.parquet")
    (source,) = find_sources([f"hf:{folder}:train"])
    assert (source.format, source.name, len(source.dataset)) == ("dataset", "hub", 6)
    first, second = (source_sha256(find_sources([f"hf:{folder}:train[{part}]"])) for part in (":3", "3:"))
    assert first != second
    with pytest.raises(InputError, match=rf"expected one of hf:{folder}:train, hf:{folder}:test; found no split named"):
        find_sources([f"hf:{folder}"])
    with pytest.raises(InputError, match=r"Unknown split \"dev\""):
        find_sources([f"hf:{folder}:dev"])
    (folder / "test.parquet").unlink()
    assert len(find_sources([f"hf:{folder}"])) == 1


def test_a_dataset_with_code_of_its_own_is_not_run(tmp_path: Path) -> None:
    folder = tmp_path / "script"
    folder.mkdir()
    (folder / "script.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.raises(InputError, match="expected a dataset that the datasets library opens, but"):
        find_sources([f"hf:{folder}:train"])
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("none.jsonl", r"none.jsonl: expected a file, found none"),
        ("*.none", r"\*.none: expected files that match, found none"),
        ("org/name", "a dataset of the hub is written hf:org/name:split"),
        ("org/name:train", "a dataset of the hub is written hf:org/name:train$"),
        ("org/name.jsonl", "expected a file, found none; check the path"),
        ("folder", r"found a folder that is no dataset of save_to_disk; name its files, such as '.*folder/\*\.jsonl'"),
        ("hf:a/b/c/d:train", "expected hf:org/name:split or hf:org/name/config:split"),
        ("hf:g2is-nobody/nothing:train", "expected a dataset that the datasets library opens, but"),
    ],
)
def test_a_location_that_is_not_there_says_what_to_write(
    location: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=expected):
        find_sources([location if location.startswith("hf:") else str(tmp_path / location)])


def test_a_file_named_twice_is_refused(tmp_path: Path) -> None:
    path = touch(tmp_path / "a.jsonl")
    with pytest.raises(InputError, match="found it twice"):
        find_sources([str(path), str(tmp_path / "*.jsonl")])


def test_one_glob_may_find_a_file_under_two_names(tmp_path: Path) -> None:
    """As in the cache of the hub, where equal files are links to one."""
    (tmp_path / "a.jsonl").write_text("{}\n")
    (tmp_path / "b.jsonl").symlink_to(tmp_path / "a.jsonl")
    found = find_sources([str(tmp_path / "*.jsonl")])
    assert [source.label for source in found] == [str(tmp_path / name) for name in ("a.jsonl", "b.jsonl")]


def test_a_file_named_twice_by_a_link_or_a_way_around_is_refused(tmp_path: Path) -> None:
    path = touch(tmp_path / "a.jsonl")
    (tmp_path / "link.jsonl").symlink_to(path)
    (tmp_path / "folder").mkdir()
    for other in ("link.jsonl", "folder/../a.jsonl"):
        with pytest.raises(InputError, match=f"found it twice \\(as {path}\\)"):
            find_sources([str(path), str(tmp_path / other)])


def test_the_digest_is_of_contents_in_order_and_of_the_format_not_of_names(tmp_path: Path) -> None:
    a, b, c = (touch(tmp_path / name) for name in ("a.jsonl", "b.jsonl", "c.csv"))
    b.write_text("y")

    def digest(*paths: Path) -> str:
        return source_sha256(find_sources(list(map(str, paths))))

    before = digest(a, b)
    assert digest(b, a) != before
    assert digest(a) != digest(c)
    a.rename(tmp_path / "renamed.jsonl")
    assert digest(tmp_path / "renamed.jsonl", b) == before
    assert len(before) == len(hashlib.sha256().hexdigest())
