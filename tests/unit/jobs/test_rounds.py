"""Between rounds, on the bundled model: the tuning and the target's gradients there against plain autograd, float64."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

import g2is.demo
from g2is.config import Config
from g2is.config.io import parse
from g2is.demo.skills import write_pool, write_target
from g2is.errors import SelectionError
from g2is.examples.dataset import Examples
from g2is.jobs.prepare import Prepared
from g2is.jobs.rounds import ROUNDS, renewing
from g2is.jobs.run_folder import RunFolder
from g2is.jobs.select import _open, tokenize
from g2is.jobs.warm_up import warm_up
from g2is.model.batches import IGNORED_LABEL, Row
from g2is.model.parameters import canonical_name
from g2is.progress import Progress, Silent
from g2is.selection.problem import Renew
from g2is.warmup.train import Checkpoint

MODEL = Path(g2is.demo.__file__).parent / "model"
RATE, TAKEN = 1e-3, [17, 3, 11, 8, 0]


@dataclass
class Listener(Silent):
    notices: list[str] = field(default_factory=list)

    def notice(self, text: str) -> None:
        self.notices.append(text)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    write_pool(tmp_path / "pool.jsonl", num_rows=20)
    write_target(tmp_path / "target.jsonl", num_rows=4)
    return tmp_path


@dataclass
class Opened:
    prepared: Prepared
    examples: Examples
    checkpoints: list[Checkpoint]
    folder: RunFolder
    renew: Renew

    @property
    def rounds(self) -> Path:
        return self.folder.path / ROUNDS


@contextmanager
def opened(place: Path, listener: Listener, **more: Any) -> Iterator[Opened]:
    values = {
        "pool": place / "pool.jsonl",
        "targets": {"t": place / "target.jsonl"},
        "out": place / "run",
        "store": place / "store",
        "model": {"name": str(MODEL), "dtype": "float32"},
        "warmup": {"learning_rate": RATE, "fraction": 0.5, "epochs": 1, "lora": {"rank": 2, "dropout": 0.0}},
        "gradients": {"projection": {"kind": "none"}},
        "selection": {"rounds": 2, "budget": "10"},
        "execution": {"device": "cpu", "batch_tokens": 256},
        **more,
    }
    config: Config = parse(Config, values, "a test")
    with _open(config, listener, True) as (prepared, store, folder):
        examples = tokenize(prepared, store, folder)
        checkpoints = warm_up(prepared, store, examples.filtered, folder)
        renew = renewing(prepared, examples, checkpoints, folder)
        assert renew is not None
        yield Opened(prepared, examples, checkpoints, folder, renew)


def adapted(adapter: Path) -> Any:
    base = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32)
    return PeftModel.from_pretrained(base, str(adapter), is_trainable=True).double().eval()


def parameters_of(model: Any) -> list[torch.nn.Parameter]:
    """The adapter's, in the order of their names, as rows have them."""
    named = {canonical_name(name): p for name, p in model.named_parameters() if p.requires_grad}
    return [named[name] for name in sorted(named)]


def weights_of(model: Any) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in parameters_of(model)])


def losses_of(model: Any, rows: Sequence[Row]) -> list[torch.Tensor]:
    """The summed loss of each row by itself, as transformers has it."""
    found = []
    for ids, learned in rows:
        tokens = torch.from_numpy(ids.astype(np.int64))[None]
        labels = torch.where(torch.from_numpy(learned)[None], tokens, IGNORED_LABEL)
        found.append(model(input_ids=tokens, labels=labels, use_cache=False).loss * int(learned[1:].sum()))
    return found


def gradient_of(model: Any, loss: torch.Tensor) -> torch.Tensor:
    model.zero_grad()
    loss.backward()
    return torch.cat([p.grad.flatten().clone() for p in parameters_of(model) if p.grad is not None])


def test_the_warm_up_s_adapter_is_tuned_on_what_was_taken_and_the_target_s_gradients_are_those_there(
    place: Path,
) -> None:
    listener = Listener()
    with opened(place, listener) as of:
        (start,) = of.checkpoints
        found = of.renew("t", TAKEN)
        (tuned,) = of.rounds.glob("*/*/epoch-1")
        targets, taken = of.examples.targets["t"].token_rows(), of.examples.pool.token_rows(TAKEN)
    before, after = adapted(start.folder), adapted(tuned)
    # one step of AdamW from nothing: each coordinate by the learning rate, against its gradient over all learned tokens
    num_learned = sum(int(learned[1:].sum()) for _, learned in taken)
    gradient = gradient_of(before, torch.stack(losses_of(before, taken)).sum() / num_learned)
    moved = weights_of(after) - weights_of(before)
    clear = gradient.abs() > 1e-4 * gradient.abs().max()
    assert clear.double().mean() > 0.5
    step = -RATE * torch.sign(gradient[clear])
    assert ((moved[clear] - step).abs() < 0.05 * RATE).double().mean() > 0.99
    # and there, one example at a time
    plain = torch.stack([gradient_of(after, loss) for loss in losses_of(after, targets)])
    plain /= plain.norm(dim=1, keepdim=True)
    assert found.shape == plain.shape
    np.testing.assert_allclose(found.astype(np.float64), plain.numpy(), atol=1e-3)  # of 16 bits a coordinate
    cosines = (torch.from_numpy(found.astype(np.float64)) * plain).sum(1)
    assert (cosines > 0.9999).all()
    means = [of.item() / int(row[1][1:].sum()) for of, row in zip(losses_of(after, targets), targets, strict=True)]
    assert f"tuned on the 5 rows taken so far; its examples' loss is {np.mean(means):.3f}" in listener.notices[-1]


def test_over_several_checkpoints_each_is_tuned_and_rows_are_joined_by_their_weights(place: Path) -> None:
    two = {"warmup_seeds": 2, "rounds": 2, "budget": "10"}
    with opened(place, Listener(), selection=two) as of:
        found = of.renew("t", TAKEN).astype(np.float64)
        targets = of.examples.targets["t"].token_rows()
        parts = []
        for checkpoint in of.checkpoints:
            (tuned,) = of.rounds.glob(f"*/{checkpoint.name}/epoch-1")
            model = adapted(tuned)
            plain = torch.stack([gradient_of(model, loss) for loss in losses_of(model, targets)])
            parts.append((plain / plain.norm(dim=1, keepdim=True)).numpy() * checkpoint.weight**0.5)
        assert [checkpoint.weight for checkpoint in of.checkpoints] == [0.5, 0.5]
    np.testing.assert_allclose(found, np.concatenate(parts, axis=1), atol=1e-3)


def test_a_tuning_is_used_again_unless_it_is_damaged_or_of_other_rows(place: Path) -> None:
    listener = Listener()
    with opened(place, listener) as of:
        renew, rounds = of.renew, of.rounds
        first = renew("t", TAKEN)
        (adapter,) = rounds.glob("*/*/epoch-1/adapter_model.safetensors")
        content, stamp = adapter.read_bytes(), adapter.stat().st_mtime_ns
        assert (renew("t", TAKEN) == first).all()
        assert adapter.stat().st_mtime_ns == stamp
        spoiled = bytearray(content)
        spoiled[-5] ^= 1
        adapter.write_bytes(spoiled)
        assert (renew("t", TAKEN) == first).all()
        assert adapter.read_bytes() == content
        assert any("it is tuned again" in text for text in listener.notices)
        assert (renew("t", TAKEN[:4]) != first).any()
        assert len(list(rounds.iterdir())) == 2


def test_a_tuning_that_diverges_is_said_of_the_selection(place: Path) -> None:
    with opened(place, Listener()) as of:
        warmup = of.prepared.config.warmup.model_copy(
            update={"learning_rate": 1e30, "max_grad_norm": 1e30, "epochs": 4}
        )
        prepared = replace(of.prepared, config=of.prepared.config.model_copy(update={"warmup": warmup}))
        renew = renewing(prepared, of.examples, of.checkpoints, of.folder)
        assert renew is not None
        with pytest.raises(SelectionError, match=r"selection\.rounds, target t after 5 rows: .*diverged"):
            renew("t", TAKEN)


def test_a_tuning_is_watched_and_its_seconds_are_the_selection_s(place: Path) -> None:
    seen: dict[str, list[tuple[int, int]]] = {}

    class Watching(Listener):
        @contextmanager
        def stage(self, title: str, unit: str) -> Iterator[Progress]:
            assert seen.setdefault(f"{title} ({unit})", []) == []
            yield lambda done, total: seen[f"{title} ({unit})"].append((done, total))

    warmup = {"learning_rate": RATE, "epochs": 2, "batch_size": 2, "lora": {"rank": 2}}
    with opened(place, Watching(), warmup=warmup) as of:
        before = dict(of.folder.seconds)
        of.renew("t", TAKEN)
        of.renew("t", TAKEN)  # which is there: no second bar
        assert of.folder.seconds == before
    steps = seen["tune on 5 rows taken (steps)"]
    assert steps[-1] == (6, 6)  # two epochs of three steps
    assert steps == sorted(steps)
    assert len({done for done, _ in steps}) > 3


def test_without_rounds_nothing_is_renewed(place: Path) -> None:
    with opened(place, Listener()) as of:
        selection = of.prepared.config.selection.model_copy(update={"rounds": 1})
        prepared = replace(of.prepared, config=of.prepared.config.model_copy(update={"selection": selection}))
        assert renewing(prepared, of.examples, of.checkpoints, of.folder) is None
