"""Rows that were once learned wrong in silence (tests/data/cases/rows): what is learned of each, as inspect shows."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import datasets
import pytest
from small_run import MODEL, SMALL, set_flags

from g2is.config import ExamplesConfig, ModelConfig
from g2is.examples.make_table import tokenize_files
from g2is.examples.sources import find_sources
from g2is.examples.tokenize import make_renderer
from g2is.model.folder import find_model
from g2is.outputs.examples import write_selected

Command = Callable[..., tuple[int, str, str]]

CASES = Path(__file__).resolve().parents[1] / "data/cases/rows"
FRENCH, LATIN = "Answer only in French.", "Answer only in Latin."
SYSTEM = ["--column", "answer=response", "--column", "system=system_prompt"]
# file -> flags, what is learned, what the model sees before it (in order)
RIGHT: dict[str, tuple[list[str], list[str], list[str]]] = {
    "turn_train": ([], ["No. Snow is white."], ["Snow is green."]),
    "turn_loss": ([], ["No. Snow is white."], ["Snow is green."]),
    "turn_loss_mask": ([], ["No. Snow is white."], ["Snow is green."]),
    "row_loss_mask": ([], ["White."], ["Green."]),
    "prompt_with_answer": ([], ["No. Snow is white."], ["Snow is green.", "Are you sure?"]),
    "row_system_messages": ([], ["Bonjour.", "Salve."], [FRENCH, "Say hello.", LATIN, "Say hello."]),
    "row_system_prompt": ([], ["Bonjour."], [FRENCH, "Say hello."]),
    "mapped_unread_column": (SYSTEM, ["Bonjour.", "Salve.", "Hello."], [FRENCH, LATIN]),
    "row_context": (["--column", "input=context"], ["Ann"], ["Who did it?\n\nAnn did it, Bob saw it."]),
}


@pytest.mark.parametrize("model", [[], ["--model", MODEL]], ids=["messages", "model"])
@pytest.mark.parametrize("case", RIGHT)
def test_what_is_learned_is_what_the_row_says(case: str, model: list[str], g2is: Command) -> None:
    flags, learned, before = RIGHT[case]
    code, out, err = g2is("inspect", CASES / f"{case}.jsonl", *flags, *model)
    assert code == 0, out + err
    assert [text.removesuffix("</s>") for text in re.findall("«([^»]*)»", out)] == learned
    at = [out.index(text) for text in before if text != "Say hello."]
    assert at == sorted(at)
    assert all(text in out for text in before)
    assert "\nunread " not in out


def test_a_column_that_is_not_read_is_said(g2is: Command) -> None:
    code, out, _ = g2is("inspect", CASES / "row_context.jsonl")
    assert code == 0
    assert "\nunread      context\n" in out


def test_images_are_refused_by_name(g2is: Command) -> None:
    code, out, _ = g2is("inspect", CASES / "row_images.jsonl", "--model", MODEL)
    assert code == 2
    assert "expected text alone, found `images`, which a text model cannot see; leave such rows out" in out


def test_tools_are_seen(g2is: Command) -> None:
    code, out, _ = g2is("inspect", CASES / "row_tools.jsonl")
    assert code == 0
    assert "tools: get_weather\n" in out


def test_settings_of_examples_and_model_are_taken(g2is: Command) -> None:
    code, out, _ = g2is("inspect", CASES / "turn_loss.jsonl", "--model", MODEL, "--set", "examples.max_length=20")
    assert code == 0
    assert "1 exceed 20" in out
    code, _, err = g2is("inspect", CASES / "turn_loss.jsonl", "--set", "examples.max_len=20")
    assert code == 2
    assert "did you mean examples.max_length?" in err


@pytest.mark.parametrize("kind", ["saved", "rows.parquet", "rows.jsonl"])
def test_json_features_are_read_as_the_lines_of_json_are(kind: str, g2is: Command, tmp_path: Path) -> None:
    if not hasattr(datasets, "Json"):
        pytest.skip(f"datasets {datasets.__version__} has no feature Json")
    turns = [{"role": "user", "content": "Add 1 and 1."}, {"role": "assistant", "content": "2", "loss": True}]
    rows = [
        {"id": "r0", "messages": turns, "meta": {"n": 0, "tags": ["a"]}},
        {"id": "r1", "messages": turns, "meta": "x"},
    ]
    features = datasets.Features(
        {"id": datasets.Value("string"), "messages": datasets.List(datasets.Json()), "meta": datasets.Json()}
    )
    dataset = datasets.Dataset.from_list(rows, features=features)
    dataset.save_to_disk(tmp_path / "saved")
    dataset.to_parquet(tmp_path / "rows.parquet")
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, out, err = g2is("inspect", tmp_path / kind, "--model", MODEL)
    assert code == 0, out + err
    assert out.count("User:\nAdd 1 and 1.\nAssistant:\n«2</s>»") == 2
    assert "\nunread      meta\n" in out
    sources = find_sources([str(tmp_path / kind)])
    write_selected(sources, ExamplesConfig(), {1: "r1", 0: "r0"}, tmp_path, lambda *_: None)
    selected = [json.loads(line) for line in (tmp_path / "selected.jsonl").read_text().splitlines()]
    assert selected == [rows[1], rows[0]]


def test_columns_of_test_files_are_read_and_others_said(g2is: Command, tmp_path: Path) -> None:
    test = tmp_path / "test.jsonl"
    turns = [{"role": "user", "content": "1 + 1?"}, {"role": "assistant", "content": "It is 2."}]
    rows = [{"id": f"t{n}", "messages": turns, "final": "2", "references": ["2"], "topic": "t"} for n in range(2)]
    test.write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = ["evaluate", test, "--model", MODEL, "--set", "evaluation.generate=false"]
    code, _, err = g2is(*command, "--out", tmp_path / "one", "--column", "answer=final")
    assert code == 0, err
    assert "test: column topic is not read" in err
    code, _, err = g2is(*command, "--out", tmp_path / "two", "--column", "completion=final")
    assert code == 2
    assert "completion=final: expected columns that the files' layout reads" in err
    assert not (tmp_path / "two").exists()


def test_what_is_learned_survives_the_selection_and_what_is_not_read_is_said_each_time(
    g2is: Command, tmp_path: Path
) -> None:
    pool, target = tmp_path / "pool.jsonl", tmp_path / "target.jsonl"
    prompt = [{"role": "user", "content": "Is it {n}?"}, {"role": "assistant", "content": "No, "}]
    turns = [*prompt, {"role": "user", "content": "Sure?"}, {"role": "assistant", "content": "Of course "}]
    rows = [
        {"id": f"r{n}", "prompt": json.loads(json.dumps(turns).replace("{n}", str(n))), "completion": f"it is {n + 1}."}
        for n in range(20)
    ]
    pool.write_text("".join(json.dumps(row | {"topic": "t", "system": "Be brief."}) + "\n" for row in rows))
    target.write_text("".join(json.dumps({"question": f"{n}?", "answer": str(n)}) + "\n" for n in range(4)))
    command = ["select", pool, target, "--model", MODEL, "--out", tmp_path / "run", "--budget", "5", *set_flags(SMALL)]
    for _ in range(2):  # the second time the tokens are there already
        code, _, err = g2is(*command)
        assert code == 0, err
        assert err.count("pool: column topic is not read") == 1
        assert "target" not in [line.partition(":")[0] for line in err.splitlines() if "not read" in line]
    messages = tmp_path / "run/selected.messages.jsonl"
    chosen = [json.loads(line) for line in messages.read_text().splitlines()]
    assert chosen[0]["messages"][2] == {"role": "assistant", "content": "No, ", "train": False}
    assert chosen[0]["messages"][4]["prefill"] == "Of course "
    model = find_model(ModelConfig(name=str(MODEL)))
    renderer = make_renderer(model.tokenizer(), ExamplesConfig(), model.context_length)
    tables = {
        path.name: tokenize_files(find_sources([str(path)]), renderer, ExamplesConfig(), tmp_path / "cache")
        for path in (tmp_path / "run/selected.jsonl", messages)
    }
    keys = [table.keys.tolist() for table in tables.values()]
    assert keys[0] == keys[1]
    code, _, err = g2is(
        "train", tmp_path / "run", "--model", MODEL, "--out", tmp_path / "tuned", "--set", "tuning.epochs=1"
    )
    assert code == 0, err
    assert "not read" not in err
