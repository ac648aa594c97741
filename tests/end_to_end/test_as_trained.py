"""`g2is evaluate --adapter` and `select --adapter` render examples as the adapter was trained."""

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from peft import AutoPeftModelForCausalLM, LoraConfig
from small_run import MODEL, set_flags
from transformers import AutoModelForCausalLM, AutoTokenizer

Command = Callable[..., tuple[int, str, str]]
QUICK = set_flags({"tuning.lora.rank": "4", "tuning.epochs": "1", "tuning.learning_rate": "2e-3"})
SHORT = set_flags({"examples.max_length": "64", "examples.truncation": "answer-end"})
LOSS = set_flags({"evaluation.generate": "false"})


def said(err: str) -> str:
    """What was said, without the terminal's line breaks, and without the column that the sample has for people."""
    return " ".join(err.split()).replace("note: test: column task is not read", "")


def rendered(folder: Path) -> dict[str, Any]:
    made_from = json.loads((folder / "manifest.json").read_text())
    return {key: value for key, value in made_from.items() if key.startswith("examples.")}


@pytest.fixture(scope="module")
def other_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled model with a chat template that calls the assistant otherwise."""
    folder = tmp_path_factory.mktemp("other") / "model"
    shutil.copytree(MODEL, folder)
    template = (folder / "chat_template.jinja").read_text()
    (folder / "chat_template.jinja").write_text(template.replace("'Assistant:", "'Helper:"))
    return folder


@pytest.fixture
def train(g2is: Command, sample: Path, tmp_path: Path) -> Callable[..., Path]:
    """Train on the sample's targets with `settings`, and return OUT."""

    def trained(model: Path, *settings: str, out: str = "tuned") -> Path:
        code, _, err = g2is(
            "train", sample / "target.jsonl", "--model", model, "--out", tmp_path / out, *QUICK, *settings
        )
        assert code == 0, err
        return tmp_path / out

    return trained


def as_others_leave_it(adapter: Path, place: Path, files: Sequence[str] = ()) -> Path:
    """The adapter with `files` of what lies beside its weights, as TRL or PEFT leave it."""
    place.mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors", *files):
        shutil.copyfile(adapter / name, place / name)
    return place


TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


def test_length_truncation_and_template_are_those_of_the_training_unless_told(
    g2is: Command, sample: Path, other_template: Path, train: Callable[..., Path], tmp_path: Path
) -> None:
    tuned = train(other_template, *SHORT)
    test = ("evaluate", sample / "target.jsonl", "--model", MODEL, *LOSS)  # whose own template is another
    shared = shutil.copytree(tuned / "adapter", tmp_path / "shared")  # the folder alone is enough
    for adapter, out in ((tuned, "here"), (shared, "there")):
        code, _, err = g2is(*test, "--adapter", adapter, "--out", tmp_path / out)
        assert code == 0, err
        assert rendered(tmp_path / out) == rendered(tuned)
        assert "rendered as it was trained: template chat, max_length 64, truncation answer-end" in said(err)
        assert "has a chat template of its own, which takes the place of the model's" in said(err)
        assert "was trained on examples rendered otherwise" not in said(err)
    used = yaml.safe_load((tmp_path / "here/config.yaml").read_text())["examples"]
    assert (used["max_length"], used["truncation"]) == (64, "answer-end")
    assert g2is("run", tmp_path / "here/config.yaml", "--out", tmp_path / "replayed")[0] == 0
    assert rendered(tmp_path / "replayed") == rendered(tuned)

    code, _, err = g2is(*test, "--adapter", tuned, "--out", tmp_path / "told", "--set", "examples.max_length=100")
    assert code == 0, err
    assert "trained: template chat, truncation answer-end" in said(err)
    assert said(err).count("was trained on examples rendered otherwise than here: max_length 64 there, 100 here") == 1
    assert rendered(tmp_path / "told") == rendered(tuned) | {"examples.max_length": 100}
    code, _, err = g2is(*test, "--adapter", tuned, "--out", tmp_path / "plain", "--set", "examples.template=plain")
    assert code == 0, err
    assert "otherwise than here: template chat there, plain here, another chat template" in said(err)

    code, _, err = g2is(*test, "--out", tmp_path / "untuned")
    assert code == 0, err
    assert rendered(tmp_path / "untuned")["examples.max_length"] == 256  # of the model: there is no adapter
    assert "note:" not in said(err)


@pytest.mark.parametrize("template", ["plain", "less"])
def test_an_adapter_that_was_trained_without_a_chat_template_is_asked_as_it_was(
    template: str, g2is: Command, sample: Path, train: Callable[..., Path], tmp_path: Path
) -> None:
    tuned = train(MODEL, *set_flags({"examples.template": template, "examples.learn_end_of_turn": "none"}))
    assert not (tuned / "adapter/chat_template.jinja").exists()  # nobody else should ask it in another
    test = ("evaluate", sample / "target.jsonl", "--model", MODEL, "--adapter", tuned, *LOSS)
    code, _, err = g2is(*test, "--out", tmp_path / "out")
    assert code == 0, err
    assert rendered(tmp_path / "out") == rendered(tuned) | {"examples.learns_end_of_turn": True}  # of test rows always
    assert f"as it was trained: template {template}, learn_end_of_turn none, max_length 2048" in said(err)
    assert said(err).count("note:") == 1
    code, _, err = g2is(*test, "--out", tmp_path / "chat", "--set", "examples.template=chat")
    assert code == 0, err
    assert f"otherwise than here: template {template} there, chat here, another chat template" in said(err)


def test_a_template_that_a_file_gave_is_carried_as_text(
    g2is: Command, sample: Path, other_template: Path, train: Callable[..., Path], tmp_path: Path
) -> None:
    file = tmp_path / "template.jinja"
    shutil.copyfile(other_template / "chat_template.jinja", file)
    given = ("--set", f"examples.chat_template={file}")
    tuned = train(MODEL, *given)
    file.rename(tmp_path / "moved.jinja")
    test = ("evaluate", sample / "target.jsonl", "--model", MODEL, "--adapter", tuned, *LOSS)
    code, _, err = g2is(*test, "--out", tmp_path / "out")
    assert code == 0, err
    assert rendered(tmp_path / "out") == rendered(tuned)
    assert "has a chat template of its own" in said(err)
    shutil.copyfile(MODEL / "chat_template.jinja", file)
    code, _, err = g2is(*test, "--out", tmp_path / "told", *given)
    assert code == 0, err
    assert "rendered otherwise than here: another chat template" in said(err)


def test_transformers_and_peft_load_the_adapter_s_folder_alone(
    other_template: Path, train: Callable[..., Path]
) -> None:
    adapter = train(other_template, *SHORT) / "adapter"
    tokenizer = AutoTokenizer.from_pretrained(adapter)
    asked = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Why?"}], tokenize=False, add_generation_prompt=True
    )
    assert asked == "<s>User:\nWhy?\nHelper:\n"
    model = AutoPeftModelForCausalLM.from_pretrained(adapter)
    assert model.generate(**tokenizer(asked, return_tensors="pt"), max_new_tokens=2).shape[0] == 1


def test_a_tokenizer_and_template_of_others_are_used_and_what_is_not_said_is_named(
    g2is: Command, sample: Path, other_template: Path, train: Callable[..., Path], tmp_path: Path
) -> None:
    adapter = train(other_template, *SHORT) / "adapter"
    test = ("evaluate", sample / "target.jsonl", "--model", MODEL, *LOSS)
    untold = "does not say how its examples were rendered (`g2is train` writes it to g2is_examples.json); here with"
    alone = as_others_leave_it(adapter, tmp_path / "alone")
    code, _, err = g2is(*test, "--adapter", alone, "--out", tmp_path / "out-alone")
    assert code == 0, err
    assert f"{untold} template chat, max_length 256, truncation prompt-start" in said(err)
    assert "of its own" not in said(err)
    theirs = as_others_leave_it(adapter, tmp_path / "theirs", TOKENIZER)
    code, _, err = g2is(*test, "--adapter", theirs, "--out", tmp_path / "out-theirs")
    assert code == 0, err
    assert f"{theirs} has a chat template of its own" in said(err)
    of_model, of_adapter = rendered(tmp_path / "out-alone"), rendered(tmp_path / "out-theirs")
    assert {key for key in of_model if of_model[key] != of_adapter[key]} == {"examples.template_sha256"}
    assert of_adapter["examples.template_sha256"] == rendered(adapter.parent)["examples.template_sha256"]
    template_alone = as_others_leave_it(adapter, tmp_path / "template", TOKENIZER[2:])
    assert g2is(*test, "--adapter", template_alone, "--out", tmp_path / "out-template")[0] == 0
    assert rendered(tmp_path / "out-template") == of_adapter


def test_what_trl_s_trainer_leaves_is_tested_and_selected_with_in_its_own_template(
    g2is: Command, sample: Path, other_template: Path, tmp_path: Path
) -> None:
    trl = pytest.importorskip("trl", reason="TRL is not installed")
    from datasets import Dataset

    rows = [json.loads(line)["messages"] for line in (sample / "target.jsonl").read_text().splitlines()]
    settings = trl.SFTConfig(
        output_dir=str(tmp_path / "trl"), max_steps=2, save_steps=2, report_to=[], use_cpu=True, bf16=False
    )
    trainer = trl.SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(MODEL),
        args=settings,
        train_dataset=Dataset.from_list([{"messages": messages} for messages in rows]),
        processing_class=AutoTokenizer.from_pretrained(other_template),
        peft_config=LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"),
    )
    trainer.train()
    flags = ("--model", MODEL, "--adapter", tmp_path / "trl/checkpoint-2")
    code, _, err = g2is("evaluate", sample / "target.jsonl", *flags, "--out", tmp_path / "out", *LOSS)
    assert code == 0, err
    assert "has a chat template of its own, which takes the place of the model's" in said(err)
    assert "tokenizer of its own" not in err
    projection = set_flags({"gradients.projection.dim": "64"})
    code, _, err = g2is(
        "warmup", sample / "pool.jsonl", sample / "target.jsonl", *flags, *projection, "--out", tmp_path / "run"
    )
    assert code == 0, err
    assert "has a chat template of its own, which takes the place of the model's" in said(err)
    of_store = json.loads((tmp_path / "run/store/manifest.json").read_text())["fingerprint"]
    theirs = hashlib.sha256(AutoTokenizer.from_pretrained(other_template).chat_template.encode()).hexdigest()
    assert of_store["examples.template_sha256"] == rendered(tmp_path / "out")["examples.template_sha256"] == theirs


def with_tokens(adapter: Path, place: Path, change: Callable[[Any], object]) -> Path:
    """The adapter as TRL leaves it, with a tokenizer that `change` has changed."""
    folder = as_others_leave_it(adapter, place, TOKENIZER)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    change(tokenizer)
    tokenizer.save_pretrained(folder)
    return folder


def test_another_tokenizer_is_used_where_the_model_has_rows_for_its_tokens_and_refused_where_not(
    g2is: Command, sample: Path, train: Callable[..., Path], tmp_path: Path
) -> None:
    adapter = train(MODEL) / "adapter"
    test = ("evaluate", sample / "target.jsonl", "--model", MODEL, *LOSS)

    def other_eos(tokenizer: Any) -> None:
        tokenizer.eos_token = "<pad>"

    other = with_tokens(adapter, tmp_path / "other", other_eos)
    code, _, err = g2is(*test, "--adapter", other, "--out", tmp_path / "out")
    assert code == 0, err
    assert "takes the place of the model's: eos_token '<pad>' for '</s>'" in said(err)
    of_model = rendered(adapter.parent)["examples.tokenizer_sha256"]
    assert rendered(tmp_path / "out")["examples.tokenizer_sha256"] != of_model

    larger = with_tokens(
        adapter, tmp_path / "larger", lambda tokenizer: tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    )
    code, out, err = g2is(*test, "--adapter", larger, "--out", tmp_path / "refused")
    assert (code, out) == (2, "")
    assert err == (
        f"error: {larger}: expected a tokenizer whose tokens the model's embedding has, 448 of them, found 1 beyond it:"
        " '[PAD]' (448). Give --model the model with the resized embedding, or take tokenizer_config.json,"
        " tokenizer.json out of that folder: the model's are used then\n"
    )
    assert not (tmp_path / "refused").exists()


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("g2is_examples.json", "{", "it cannot be read: Expecting property name"),
        ("g2is_examples.json", "[]", "it cannot be read: list indices"),
        ("g2is_examples.json", '{"settings": {}}', "it cannot be read: 'format'"),
        (
            "g2is_examples.json",
            '{"format": 2, "settings": {}, "rendered": {}}',
            "format 2 of another version of g2is",
        ),
        ("g2is_examples.json", '{"format": 1, "settings": {"max_length": "x"}, "rendered": {}}', "max_length: "),
        ("g2is_examples.json", '{"format": 1, "settings": {"later": 1}, "rendered": {}}', "later: unknown"),
        ("tokenizer.json", "{", "expected a tokenizer that transformers loads"),
        ("chat_template.jinja", "{% for %}", "chat template"),
    ],
)
def test_a_broken_file_beside_the_adapter_is_one_message(
    name: str, content: str, problem: str, g2is: Command, sample: Path, train: Callable[..., Path], tmp_path: Path
) -> None:
    adapter = train(MODEL) / "adapter"
    (adapter / name).write_text(content)
    (adapter / "digests.json").unlink()  # as for an adapter that was changed on purpose
    code, out, err = g2is(
        "evaluate", sample / "target.jsonl", "--model", MODEL, "--adapter", adapter, "--out", tmp_path / "out", *LOSS
    )
    assert (code, out) == (2, "")
    assert problem in err
    assert str(adapter) in err
    assert "Traceback" not in err
    assert not (tmp_path / "out").exists()


def test_an_adapter_of_before_is_tested_as_ever(
    g2is: Command, sample: Path, train: Callable[..., Path], tmp_path: Path
) -> None:
    tuned = train(MODEL)
    for name in ("g2is_examples.json", "digests.json", *TOKENIZER):
        (tuned / "adapter" / name).unlink()
    test = ("evaluate", sample / "target.jsonl", "--model", MODEL, "--adapter", tuned, *LOSS)
    code, _, err = g2is(*test, "--out", tmp_path / "out")
    assert code == 0, err
    assert rendered(tmp_path / "out") == rendered(tuned)
    again = train(MODEL, out="again")
    manifests = []
    for folder in (tuned, again):
        assert g2is(*test[:5], folder, *LOSS, "--out", tmp_path / f"of-{folder.name}")[0] == 0
        manifests.append(json.loads((tmp_path / f"of-{folder.name}/manifest.json").read_text()))
    assert manifests[0] == manifests[1]  # what lies beside the weights is no part of the adapter's digest


def test_a_base_model_s_adapter_is_carried_too(
    g2is: Command, sample: Path, shared: Path, train: Callable[..., Path], tmp_path: Path
) -> None:
    stories = shared / "models/stories260K"
    tuned = train(stories, *SHORT)
    test = ("evaluate", sample / "target.jsonl", "--model", stories, "--adapter", tuned, *LOSS)
    code, _, err = g2is(*test, "--out", tmp_path / "out")
    assert code == 0, err
    assert rendered(tmp_path / "out") == rendered(tuned)
    assert rendered(tuned)["examples.template"] == "plain"
