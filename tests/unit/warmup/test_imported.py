"""A user's own checkpoint: what is taken equals what its training held, and whatever does not fit is refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from checkpoints import STEPS, Trained, save_base, train
from peft import PeftModel
from safetensors.torch import load_file, save_file

from g2is.errors import ModelError
from g2is.model.adapter import load_adapter
from g2is.model.parameters import trainable_parameters
from g2is.store.moments import Moments, load_moments
from g2is.warmup.imported import ImportedAdapter, adapter_notices, find_checkpoint, keep_checkpoint, read_checkpoint
from g2is.warmup.train import finished_warmup

ATTENTION = {"r": 4, "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj"]}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("llama")
    return train(save_base("llama", folder / "model"), folder / "out", ATTENTION)


@pytest.fixture
def copy(trained: Trained, tmp_path: Path) -> Path:
    return shutil.copytree(trained.folder, tmp_path / "checkpoint")


def read(trained: Trained, folder: Path | None = None) -> ImportedAdapter:
    return read_checkpoint(find_checkpoint(folder or trained.folder), trained.base)


def refusal(trained: Trained, folder: Path) -> str:
    with pytest.raises(ModelError) as error:
        read(trained, folder)
    message = str(error.value)
    assert message.startswith(str(folder)), message
    assert "expected" in message, message
    assert "found" in message or "but" in message, message
    return message


def check_same(found: Moments, expected: Moments) -> None:
    """Exactly the same moments, and moments that a mix-up would show in."""
    assert list(found.m) == list(expected.m)
    for name in expected.m:
        assert torch.equal(found.m[name], expected.m[name]), name
        assert torch.equal(found.v[name], expected.v[name]), name
    sums = [moment.double().sum().item() for moment in (*expected.m.values(), *expected.v.values())]
    assert len(set(sums)) == len(sums), "two parameters have the same moments: the comparison would not see a swap"
    scalars = ("step", "beta1", "beta2", "epsilon")
    assert [getattr(found, key) for key in scalars] == [getattr(expected, key) for key in scalars]


def edit(folder: Path, **changes: Any) -> Path:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return folder


def edit_optimizer(folder: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    saved = torch.load(folder / "optimizer.pt", weights_only=True)
    torch.save(change(saved) or saved, folder / "optimizer.pt")
    return folder


def loraplus(model: PeftModel) -> torch.optim.Optimizer:
    return peft.optimizers.create_loraplus_optimizer(
        model, torch.optim.AdamW, lr=1e-2, loraplus_lr_ratio=4, betas=(0.8, 0.95), weight_decay=0.1
    )


def loraplus_of_llama_factory(model: PeftModel) -> torch.optim.Optimizer:
    a, embedding, b, b_not_decayed = loraplus(model).param_groups
    return torch.optim.AdamW([a, b, b_not_decayed, embedding])


def with_names(model: PeftModel) -> torch.optim.Optimizer:
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    return torch.optim.AdamW(list(reversed(named)), lr=1e-2)


def one_group(model: PeftModel) -> torch.optim.Optimizer:
    return torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-2)


SQUARE = {"num_key_value_heads": 4}
# name -> architecture, its settings, LoRA's settings, optimizer
TRAININGS: dict[str, tuple[str, dict[str, Any], dict[str, Any], Callable[..., Any] | None]] = {
    "llama": ("llama", {}, ATTENTION, None),
    "llama, every matrix of one shape": ("llama", SQUARE, ATTENTION | {"r": 32}, None),
    "gpt2, transposed weights": ("gpt2", {}, {"r": 4, "target_modules": ["c_attn", "c_proj"]}, None),
    "biases, decayed and not": ("opt", {}, {"r": 4, "target_modules": ["q_proj", "fc1"], "lora_bias": True}, None),
    "patterns of ranks": (
        "llama",
        {},
        ATTENTION | {"rank_pattern": {"q_proj": 2, "layers.1.self_attn.v_proj": 7}},
        None,
    ),
    "all linear layers, rslora": ("llama", {}, {"r": 4, "target_modules": "all-linear", "use_rslora": True}, None),
    "LoRA+ of PEFT": ("llama", SQUARE, ATTENTION | {"r": 32}, loraplus),
    "LoRA+ of LLaMA-Factory": ("llama", SQUARE, ATTENTION | {"r": 32}, loraplus_of_llama_factory),
    "LoRA+ with biases": (
        "opt",
        {},
        {"r": 4, "target_modules": ["q_proj", "fc1"], "lora_bias": True},
        loraplus_of_llama_factory,
    ),
    "names in the file, reversed": ("llama", SQUARE, ATTENTION | {"r": 32}, with_names),
    "one group": ("llama", SQUARE, ATTENTION | {"r": 32}, one_group),
}


@pytest.mark.slow
@pytest.mark.parametrize("training", TRAININGS)
def test_the_moments_are_the_optimizer_s_own_by_identity(training: str, tmp_path: Path) -> None:
    name, settings, lora, make_optimizer = TRAININGS[training]
    trained = train(save_base(name, tmp_path / "model", **settings), tmp_path / "out", lora, make_optimizer)
    imported = read(trained)
    check_same(imported.adam.moments, trained.moments)
    keep_checkpoint(imported, tmp_path / "warmup")
    parameters = trainable_parameters(load_adapter(trained.base, tmp_path / "warmup/imported", torch.device("cpu")))
    true = trainable_parameters(trained.model)
    assert list(parameters) == list(true)
    assert all(torch.equal(parameters[name], true[name]) for name in true)
    assert imported.num_coordinates == sum(parameter.numel() for parameter in true.values())


@pytest.mark.slow
def test_the_groups_learning_rates_are_told(tmp_path: Path) -> None:
    trained = train(save_base("llama", tmp_path / "model"), tmp_path / "out", ATTENTION, loraplus)
    imported = read(trained)
    a, b = imported.adam.learning_rates
    assert b == pytest.approx(4 * a)
    first, other = adapter_notices(Path("c"), imported.summary(), "model")
    assert f"step {STEPS}, learning rate {a:.3g} and {b:.3g} there" in first
    assert str(trained.base.path) in other
    assert len(adapter_notices(Path("c"), imported.summary(), str(trained.base.path))) == 1


def test_a_checkpoint_is_kept_whole_as_the_finished_warm_up(trained: Trained, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in trained.folder.iterdir()}
    (tmp_path / "warmup").mkdir()
    (tmp_path / "warmup/left-by-a-kill").write_text("x")
    keep_checkpoint(read(trained), tmp_path / "warmup")
    assert {path: path.read_bytes() for path in trained.folder.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["warmup"]
    (checkpoint,) = finished_warmup(tmp_path / "warmup") or []
    assert checkpoint.weight == 1
    checkpoint.check()
    parameters = trainable_parameters(load_adapter(trained.base, checkpoint.folder, torch.device("cpu")))
    check_same(load_moments(checkpoint.folder / "moments.safetensors", parameters), trained.moments)
    for name, parameter in trainable_parameters(trained.model).items():
        assert torch.equal(parameters[name], parameter), name


def test_a_write_that_fails_leaves_nothing(trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    imported = read(trained)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("g2is.warmup.imported.write_json", fail)
    with pytest.raises(OSError, match="No space"):
        keep_checkpoint(imported, tmp_path / "warmup")
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_that_is_still_being_written_is_refused(trained: Trained, copy: Path, tmp_path: Path) -> None:
    imported = read(trained, copy)
    edit(copy, lora_alpha=9)
    with pytest.raises(ModelError, match="found its files changed"):
        keep_checkpoint(imported, tmp_path / "warmup")
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


def test_the_digest_is_that_of_the_content_wherever_it_lies(trained: Trained, copy: Path) -> None:
    files = find_checkpoint(trained.folder)
    assert find_checkpoint(copy).digest == files.digest
    edit_optimizer(copy, lambda saved: saved["param_groups"][0].update(eps=1e-6))
    assert find_checkpoint(copy).digest != files.digest


def test_a_state_keyed_by_names_is_matched_by_them(trained: Trained, copy: Path) -> None:
    """What FSDP gathers with FULL_STATE_DICT, in another order than the model's."""
    in_order = [name for name, p in trained.model.named_parameters() if p.requires_grad]

    def by_name(saved: dict[str, Any]) -> dict[str, Any]:
        state = {in_order[i]: entry for i, entry in reversed(saved["state"].items())}
        return {"state": state, "param_groups": [{**saved["param_groups"][0], "params": list(state)}]}

    edit_optimizer(copy, by_name)
    (copy / "optimizer.pt").rename(copy / "optimizer.bin")
    (copy / "pytorch_model_fsdp.bin").touch()
    check_same(read(trained, copy).adam.moments, trained.moments)


def state_of(saved: dict[str, Any], key: int = 0) -> dict[str, Any]:
    entry: dict[str, Any] = saved["state"][key]
    return entry


def keep_only(*names: str) -> Callable[[dict[str, Any]], None]:
    def change(saved: dict[str, Any]) -> None:
        for entry in saved["state"].values():
            moment = entry["exp_avg"]
            entry.clear()
            entry.update(dict.fromkeys(names, moment))

    return change


def swap_groups(saved: dict[str, Any]) -> None:
    first, second = saved["param_groups"]
    half = len(first["params"]) // 2
    first["params"], second["params"] = first["params"][:half], first["params"][half:]


BAD_OPTIMIZERS: dict[str, tuple[Callable[[dict[str, Any]], Any], tuple[str, ...]]] = {
    "8-bit": (keep_only("state1", "state2", "absmax1", "qmap1", "step"), ("bitsandbytes", "optim: adamw_torch")),
    "paged 32-bit": (keep_only("state1", "state2", "step"), ("bitsandbytes", "optim: adamw_torch")),
    "adafactor": (keep_only("step", "exp_avg_sq_row", "exp_avg_sq_col", "RMS"), ("Adafactor", "optim: adamw_torch")),
    "sgd": (keep_only("momentum_buffer"), ("SGD or Muon", "optim: adamw_torch")),
    "lion": (keep_only("exp_avg"), ("found exp_avg: another optimizer", "optim: adamw_torch")),
    "amsgrad": (keep_only("step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq"), ("amsgrad", "another second moment")),
    "galore": (keep_only("step", "exp_avg", "exp_avg_sq", "projector"), ("GaLore",)),
    "no steps": (lambda s: s["state"].clear(), ("found none", "after the first step")),
    "steps differ": (lambda s: state_of(s).update(step=torch.tensor(2.0)), ("step 2 of 1, step 3 of 15",)),
    "one without": (
        lambda s: s["state"].__delitem__(3),
        ("layers.0.self_attn.k_proj.lora_B.weight, shape (16, 4), found none",),
    ),
    "one too many": (lambda s: s["state"].update({99: dict(state_of(s))}), ("found 1 that no group holds: 99",)),
    "wrong shape": (
        lambda s: state_of(s).update(exp_avg=torch.zeros(4, 31)),
        ("exp_avg of model.layers.0.self_attn.q_proj.lora_A.weight with shape (4, 32)", "found (4, 31)"),
    ),
    "nan": (lambda s: state_of(s)["exp_avg"].fill_(float("nan")), ("lora_A.weight", "NaN", "earlier checkpoint")),
    "inf": (lambda s: state_of(s)["exp_avg_sq"].fill_(float("inf")), ("lora_A.weight", "Inf")),
    "negative": (lambda s: state_of(s)["exp_avg_sq"].fill_(-1), ("lora_A.weight", "less than 0")),
    "groups of another rule": (swap_groups, ("[16, 0]", "the Trainer", "found groups of [8, 8]")),
    "three groups": (
        lambda s: s["param_groups"].append({**s["param_groups"][0], "params": []}),
        ("found groups of [16, 0, 0]", "cannot be told"),
    ),
    "a parameter fewer": (lambda s: s["param_groups"][0]["params"].pop(), ("16 parameters", "found groups of [15, 0]")),
    "a parameter twice": (lambda s: s["param_groups"][0]["params"].append(0), ("found one twice",)),
    "names of another adapter": (
        lambda s: [g.update(param_names=[f"other.{i}" for i in g["params"]]) for g in s["param_groups"]] and None,
        ("found 16 missing: model.layers.0", "shape (4, 32)"),
    ),
    "no number as step": (
        lambda s: state_of(s).update(step=torch.ones(2)),
        ("the step of model.layers.0", "found a Tensor that is none"),
    ),
    "maximize": (lambda s: s["param_groups"][0].update(maximize=True), ("maximize=True",)),
    "no optimizer": (lambda s: {"model": s["state"]}, ("`state` and `param_groups`, found model",)),
}


@pytest.mark.parametrize("case", BAD_OPTIMIZERS)
def test_moments_that_do_not_fit_are_refused_by_name(case: str, trained: Trained, copy: Path) -> None:
    change, expected = BAD_OPTIMIZERS[case]
    edit_optimizer(copy, lambda saved: result if isinstance(result := change(saved), dict) else saved)
    message = refusal(trained, copy)
    assert message.startswith(str(copy / "optimizer.pt"))
    for text in expected:
        assert text in message, message


def test_groups_with_different_betas_are_refused(trained: Trained, copy: Path) -> None:
    in_order = [name for name, p in trained.model.named_parameters() if p.requires_grad]

    def split(saved: dict[str, Any]) -> None:
        for group, keys in zip(saved["param_groups"], (range(8), range(8, 16)), strict=True):
            group.update(params=list(keys), param_names=[in_order[key] for key in keys])
        saved["param_groups"][1]["betas"] = (0.1, 0.2)

    edit_optimizer(copy, split)
    assert "expected one betas for all parameters, found (0.8, 0.95), (0.1, 0.2)" in refusal(trained, copy)


@pytest.mark.slow
def test_two_groups_of_another_trainer_are_not_taken_for_the_trainer_s(tmp_path: Path) -> None:
    """The sizes are right, yet the second group is decayed: somebody else cut it, who knows along which line."""
    lora = {"r": 4, "target_modules": ["q_proj"], "lora_bias": True}
    trained = train(save_base("opt", tmp_path / "model"), tmp_path / "out", lora)
    edit_optimizer(trained.folder, lambda saved: saved["param_groups"][1].update(weight_decay=0.1))
    assert "differ in weight decay alone" in refusal(trained, trained.folder)
    edit_optimizer(trained.folder, lambda saved: saved["param_groups"][1].update(weight_decay=0.0, initial_lr=5.0))
    assert "(lr 5.0, weight_decay 0.0)" in refusal(trained, trained.folder)


BAD_SETTINGS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "DoRA": ({"use_dora": True}, ("use_dora = true",)),
    "modules_to_save": ({"modules_to_save": ["lm_head"]}, ('modules_to_save = ["lm_head"]',)),
    "biases of the base": ({"bias": "lora_only"}, ('bias = "lora_only"',)),
    "tokens": ({"trainable_token_indices": [1]}, ("trainable_token_indices = [1]",)),
    "experts": ({"target_parameters": ["w"]}, ("target_parameters",)),
    "PiSSA": ({"init_lora_weights": "pissa"}, ('init_lora_weights = "pissa"',)),
    "layers repeated": ({"layer_replication": [[0, 2]]}, ("layer_replication",)),
    "a setting of a PEFT to come": ({"use_quantum": True}, ("use_quantum = true",)),
    "a classifier": ({"task_type": "SEQ_CLS"}, ('task_type = "SEQ_CLS"',)),
    "two at once": ({"use_dora": True, "bias": "all"}, ('bias = "all"', "use_dora = true")),
    "not LoRA": ({"peft_type": "IA3"}, ("peft_type LORA, found 'IA3'",)),
    "layers that are not there": ({"target_modules": ["query_key_value"]}, ("query_key_value", "--model")),
    "embeddings": ({"target_modules": ["embed_tokens", "q_proj"]}, ("embed_tokens", "Embedding")),
    "other layers": (
        {"target_modules": ["q_proj"]},
        ("self_attn.k_proj.lora_A.weight with no such parameter, found shape (4, 32)",),
    ),
    "settings of no kind": ({"r": "many"}, ("PEFT cannot attach it",)),
    "a pattern that is none": ({"target_modules": "(q_proj"}, ("PEFT cannot attach it",)),
    "another rank": ({"r": 5}, ("lora_A.weight with shape (5, 32), found shape (4, 32)",)),
}


@pytest.mark.parametrize("case", BAD_SETTINGS)
def test_adapters_that_cannot_be_taken_are_refused_by_name(case: str, trained: Trained, copy: Path) -> None:
    changes, expected = BAD_SETTINGS[case]
    message = refusal(trained, edit(copy, **changes))
    for text in expected:
        assert text in message, message


def test_a_checkpoint_of_another_model_is_refused_with_the_shapes(trained: Trained, tmp_path: Path) -> None:
    wider = save_base("llama", tmp_path / "model", hidden_size=64)
    with pytest.raises(ModelError, match=r"lora_A\.weight with shape \(4, 64\), found shape \(4, 32\)"):
        read_checkpoint(find_checkpoint(trained.folder), wider)
    deeper = save_base("llama", tmp_path / "deeper", num_hidden_layers=3)
    with pytest.raises(ModelError, match=r"layers\.2\..* with shape \(4, 32\), found no such parameter"):
        read_checkpoint(find_checkpoint(trained.folder), deeper)
    with pytest.raises(ModelError, match=r"PEFT cannot attach it.*trained on"):
        read_checkpoint(find_checkpoint(trained.folder), save_base("gpt2", tmp_path / "gpt2"))


BAD_FILES: dict[str, tuple[Callable[[Path], Any], tuple[str, ...]]] = {
    "no settings": (lambda f: (f / "adapter_config.json").unlink(), ("adapter_config.json", "checkpoint-N")),
    "pickled weights": (
        lambda f: (f / "adapter_model.safetensors").rename(f / "adapter_model.bin"),
        ("adapter_model.bin, a pickle", "save_pretrained"),
    ),
    "no weights": (lambda f: (f / "adapter_model.safetensors").unlink(), ("adapter_model.safetensors, found none",)),
    "no optimizer": (lambda f: (f / "optimizer.pt").unlink(), ("found none", "save_only_model=False")),
    "no optimizer, but below": (
        lambda f: shutil.move(f / "optimizer.pt", shutil.copytree(f, f / "checkpoint-5") / "optimizer.pt"),
        ("found none", "Name one of the folders in it that have one (checkpoint-5)"),
    ),
    "two optimizers": (lambda f: (f / "optimizer.bin").touch(), ("optimizer.pt and optimizer.bin", "Remove the one")),
    "DeepSpeed": (lambda f: (f / "global_step3").mkdir(), ("global_step3: a checkpoint of DeepSpeed", "without Deep")),
    "DeepSpeed's latest": (lambda f: (f / "latest").touch(), ("latest: a checkpoint of DeepSpeed",)),
    "ZeRO": (lambda f: (f / "zero_pp_rank_0_mp_rank_00_optim_states.pt").touch(), ("zero_pp_rank_0",)),
    "FSDP in shards": (lambda f: (f / "optimizer_0").mkdir(), ("optimizer_0", "FULL_STATE_DICT")),
    "FSDP's model in shards": (lambda f: (f / "pytorch_model_fsdp_0").mkdir(), ("pytorch_model_fsdp_0",)),
    "cut-off optimizer": (
        lambda f: (f / "optimizer.pt").write_bytes((f / "optimizer.pt").read_bytes()[:900]),
        ("optimizer.pt", "cannot be read as such"),
    ),
    "an optimizer with code in it": (
        lambda f: torch.save({"state": {0: shutil.copytree}}, f / "optimizer.pt"),
        ("optimizer.pt", "cannot be read as such", "running its code"),
    ),
    "cut-off weights": (
        lambda f: (f / "adapter_model.safetensors").write_bytes(b"12345678"),
        ("adapter_model.safetensors", "damaged"),
    ),
    "settings that are no JSON": (lambda f: (f / "adapter_config.json").write_text("{"), ("cannot be read",)),
    "NaN weights": (
        lambda f: save_file(
            {name: t * float("nan") for name, t in load_file(f / "adapter_model.safetensors").items()},
            f / "adapter_model.safetensors",
        ),
        ("lora_A.weight, shape (4, 32), found NaN",),
    ),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_folders_that_cannot_be_taken_are_refused_with_the_remedy(case: str, trained: Trained, copy: Path) -> None:
    spoil, expected = BAD_FILES[case]
    spoil(copy)
    message = refusal(trained, copy)
    for text in expected:
        assert text in message, message


def test_a_folder_above_the_checkpoints_names_them(trained: Trained, tmp_path: Path) -> None:
    assert f"Did you mean one of its folders checkpoint-{STEPS}?" in refusal(trained, trained.folder.parent)
    assert "found none there" in refusal(trained, tmp_path / "nowhere")
