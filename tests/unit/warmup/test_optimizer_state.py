"""Names for moments that come without any: the Trainer's rule on a model whose groups cut across its order."""

from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from peft import PeftModel
from torch import nn
from transformers import Trainer, TrainingArguments

from g2is.errors import ModelError
from g2is.model.parameters import trainable_parameters
from g2is.warmup.moments import moments_of
from g2is.warmup.optimizer_state import read_moments
from g2is.warmup.saved_optimizer import load_saved

WIDTH = 6


class Block(nn.Module):
    """Three square projections, one in a module whose name makes the Trainer spare it weight decay."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(WIDTH, WIDTH)
        self.q_norm = nn.ModuleDict({"gate": nn.Linear(WIDTH, WIDTH)})
        self.last = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.q_norm["gate"](self.first(x)).tanh())


class Blocks(nn.Module):
    """A model that the Trainer can train."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block() for _ in range(2))

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        for block in self.blocks:
            x = x + block(x)
        return {"loss": (x - labels).square().mean()}


def adapted() -> PeftModel:
    torch.manual_seed(0)
    return peft.get_peft_model(Blocks(), peft.LoraConfig(r=WIDTH, target_modules=["first", "gate", "last"]))


def train(model: PeftModel, out: Path, optimizer: torch.optim.Optimizer | None = None) -> Trainer:
    arguments = TrainingArguments(
        output_dir=str(out),
        max_steps=2,
        learning_rate=0.1,
        weight_decay=0.1,
        optim="adamw_torch",
        save_strategy="steps",
        save_steps=2,
        use_cpu=True,
        report_to=[],
        disable_tqdm=True,
    )
    rows = [{"x": torch.randn(WIDTH), "labels": torch.randn(WIDTH)} for _ in range(4)]
    trainer = Trainer(model=model, args=arguments, train_dataset=rows, optimizers=(optimizer, None))
    trainer.train()
    return trainer


def test_parameters_that_the_trainer_does_not_decay_are_told_apart_from_those_between_them(tmp_path: Path) -> None:
    model = adapted()
    trainer = train(model, tmp_path)
    inner = getattr(trainer.optimizer, "optimizer", trainer.optimizer)
    assert [len(group["params"]) for group in inner.param_groups] == [8, 4]
    expected = moments_of(inner, trainable_parameters(model))
    assert len({parameter.shape for parameter in trainable_parameters(model).values()}) == 1  # no shape helps
    found = read_moments(tmp_path / "checkpoint-2/optimizer.pt", adapted()).moments
    assert found.m.keys() == expected.m.keys()
    for name in expected.m:
        assert torch.equal(found.m[name], expected.m[name]), name
        assert torch.equal(found.v[name], expected.v[name]), name
    naive = dict(zip(expected.m, torch.load(tmp_path / "checkpoint-2/optimizer.pt")["state"].values(), strict=True))
    assert not all(torch.equal(naive[name]["exp_avg"], expected.m[name]) for name in naive)


def test_all_in_one_group_beside_an_empty_one_is_the_model_s_order_whatever_the_rule_was(tmp_path: Path) -> None:
    """Earlier versions of the Trainer decayed by another rule."""
    model = adapted()
    every = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups: list[dict[str, Any]] = [{"params": every}, {"params": [], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=0.1)
    train(model, tmp_path, optimizer)
    expected = moments_of(optimizer, trainable_parameters(model))
    found = read_moments(tmp_path / "checkpoint-2/optimizer.pt", adapted()).moments
    assert all(torch.equal(found.m[name], expected.m[name]) for name in expected.m)


def test_groups_that_are_the_trainer_s_in_number_alone_are_refused(tmp_path: Path) -> None:
    model = adapted()
    every = [parameter for parameter in model.parameters() if parameter.requires_grad]
    train(model, tmp_path, torch.optim.AdamW([{"params": every[:6]}, {"params": every[6:]}], lr=0.1))
    with pytest.raises(ModelError, match=r"\[8, 4\] \(the Trainer\), found groups of \[6, 6\]"):
        read_moments(tmp_path / "checkpoint-2/optimizer.pt", adapted())


class Executes:
    """Unpickled, it writes a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self._path, "it ran")


def test_a_state_that_runs_code_is_refused_where_a_naive_reader_runs_it(tmp_path: Path) -> None:
    state = {"state": {0: Executes(tmp_path / "ran")}, "param_groups": []}
    torch.save(state, tmp_path / "optimizer.pt")
    with pytest.raises(ModelError, match=r"optimizer\.pt: expected an optimizer's state in plain tensors"):
        load_saved(tmp_path / "optimizer.pt")
    assert not (tmp_path / "ran").exists()
    torch.load(tmp_path / "optimizer.pt", weights_only=False)
    assert (tmp_path / "ran").read_text() == "it ran"


_ENTRY = {"step": torch.tensor(1.0), "exp_avg": torch.ones(1), "exp_avg_sq": torch.ones(1)}
_GROUP = {"lr": 0.1, "betas": (0.9, 0.999), "eps": 1e-8, "params": [0]}


@pytest.mark.parametrize(
    "state",
    [
        [],
        {"state": [], "param_groups": []},
        {"state": {0: _ENTRY}, "param_groups": [_GROUP | {"params": [[0]]}]},
        {"state": {0: _ENTRY}, "param_groups": [_GROUP | {"params": 3}]},
        {"state": {0: _ENTRY}, "param_groups": [_GROUP | {"params": [torch.ones(2)]}]},
        {"state": {0: _ENTRY}, "param_groups": [_GROUP | {"param_names": [{}]}]},
        {"state": {0: _ENTRY}, "param_groups": [_GROUP | {"param_names": "p"}]},
        {"state": {0: _ENTRY}, "param_groups": [_GROUP | {"lr": []}]},
        {"state": {0: _ENTRY}, "param_groups": [_GROUP | {"lr": torch.ones(3)}]},
        {"state": {0: _ENTRY}, "param_groups": [_GROUP | {"lr": torch.tensor(1j)}]},
        {"state": {0: _ENTRY}, "param_groups": [_GROUP | {"lr": float("nan")}]},
        {"state": {0: _ENTRY}, "param_groups": [_GROUP | {"betas": 0.9}]},
        {"state": {0: _ENTRY}, "param_groups": [_GROUP | {"betas": (0.9, 2.0)}]},
        {"state": {0: _ENTRY}, "param_groups": [_GROUP | {"eps": 10**400}]},
        {"state": {0: _ENTRY}, "param_groups": [_GROUP | {"maximize": torch.ones(2)}]},
        {"state": {0: _ENTRY}, "param_groups": [{1: 2}]},
        {"state": {0: _ENTRY}, "param_groups": [[]]},
        {"state": {(1, 2): _ENTRY}, "param_groups": [_GROUP]},
        {"state": {0: {1: 2, "step": 3}}, "param_groups": [_GROUP]},
        {"state": {0: [1]}, "param_groups": [_GROUP]},
    ],
)
def test_a_state_that_torch_never_writes_is_refused(state: Any, tmp_path: Path) -> None:
    torch.save(state, tmp_path / "optimizer.pt")
    with pytest.raises(ModelError, match=r"optimizer\.pt: expected an optimizer's state_dict") as error:
        load_saved(tmp_path / "optimizer.pt")
    assert len(str(error.value)) < 500
