import json
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from g2is.errors import ConfigError, ModelError
from g2is.model.batches import Row
from g2is.representations.embedding import embedding
from g2is.representations.encoder import find_embedding_model
from g2is.representations.maker import Materials

TEXTS = ["What is 1 + 6? 7", "Sort the letters of hello: ehllo", "", "one two three four " * 40, "Reverse abc: cba"]


@pytest.fixture
def copy(minilm: Path, tmp_path: Path) -> Path:
    """MiniLM under another name, the weights linked."""
    folder = tmp_path / "copy"
    shutil.copytree(minilm, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    (folder / "model.safetensors").symlink_to(minilm / "model.safetensors")
    return folder


@pytest.mark.slow
def test_rows_are_the_embeddings_of_the_text_without_special_tokens(
    minilm: Path, materials: Callable[..., Materials], rows_of: Callable[[Sequence[str]], list[Row]]
) -> None:
    sentence_transformers = pytest.importorskip("sentence_transformers")
    given = materials(batch_tokens=100, embedding_model=str(minilm))
    done: list[int] = []
    rows = rows_of(TEXTS)
    arrays = embedding(given).open()(rows, done.append)
    model = sentence_transformers.SentenceTransformer(str(minilm), device="cpu", local_files_only=True)
    texts = [given.text(ids) for ids, _ in rows]
    assert texts == TEXTS
    expected = np.concatenate([model.encode([text], show_progress_bar=False) for text in texts])
    cosines = np.einsum("rk,rk->r", arrays["rows"].astype(np.float64), expected) / np.linalg.norm(expected, axis=1)
    assert cosines.min() > 1 - 1e-3  # float16
    np.testing.assert_allclose(arrays["norm"], np.linalg.norm(expected, axis=1), rtol=1e-5)
    assert len(done) > 1
    assert sum(done) == sum(len(ids) for ids, _ in rows)
    assert given.reporter.notices == [  # type: ignore[attr-defined]
        f"embeddings are made of each example's first 256 tokens, as {minilm} counts them"
    ]


@pytest.mark.slow
def test_the_fingerprint_is_of_the_files_and_not_of_the_path(
    minilm: Path, copy: Path, materials: Callable[..., Materials]
) -> None:
    def fingerprint(folder: Path) -> dict[str, object]:
        return dict(embedding(materials(embedding_model=str(folder))).fingerprint)

    original = fingerprint(minilm)
    (copy / "README.md").write_text("another")
    assert fingerprint(copy) == original
    settings = copy / "sentence_bert_config.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"max_seq_length": 16}))
    changed = fingerprint(copy)
    assert {key for key in original if changed[key] != original[key]} == {"embedding.model"}


def test_a_missing_package_is_one_error_that_names_the_extra(
    materials: Callable[..., Materials], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(ConfigError, match=r"package sentence-transformers, .*pip install 'g2is\[embedding\]'"):
        embedding(materials())


def test_a_model_with_code_of_its_own_is_refused_and_the_code_not_run(copy: Path) -> None:
    (copy / "own.py").write_text("raise SystemExit('the code was run')")
    modules = json.loads((copy / "modules.json").read_text())
    modules[1]["type"] = "own.Pooling"
    (copy / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(ModelError, match=r"modules\.json: expected modules of sentence-transformers, found own\.Pool"):
        find_embedding_model(str(copy))


def test_pickled_weights_are_refused_wherever_they_lie(copy: Path) -> None:
    (copy / "2_Dense").mkdir()
    torch.save({}, copy / "2_Dense/pytorch_model.bin")
    with pytest.raises(ModelError, match=r"2_Dense/pytorch_model\.bin: expected weights in \*\.safetensors"):
        find_embedding_model(str(copy))
    torch.save({}, copy / "pytorch_model.bin")  # beside safetensors it is not read
    shutil.rmtree(copy / "2_Dense")
    assert find_embedding_model(str(copy)) == copy
    (copy / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"copy/pytorch_model\.bin: expected weights in \*\.safetensors"):
        find_embedding_model(str(copy))


def test_what_is_no_embedding_model_is_refused(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="expected a model folder, found no folder there"):
        find_embedding_model(str(tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"expected a sentence-transformers model with modules\.json, found none"):
        find_embedding_model(str(tmp_path / "empty"))
    (copy / "modules.json").write_text("[1]")
    with pytest.raises(ModelError, match=r"modules\.json: .* found a damaged one"):
        find_embedding_model(str(copy))


@pytest.mark.slow
def test_a_damaged_model_is_refused_in_one_message(copy: Path, materials: Callable[..., Materials]) -> None:
    (copy / "tokenizer.json").write_text("{")
    with pytest.raises(ModelError, match="expected a model that sentence-transformers loads, but: "):
        embedding(materials(embedding_model=str(copy))).open()
    weights = (copy / "model.safetensors").read_bytes()[:1000]
    (copy / "model.safetensors").unlink()
    (copy / "model.safetensors").write_bytes(weights)
    with pytest.raises(ModelError, match="expected a whole safetensors file, found a damaged one"):
        find_embedding_model(str(copy))
