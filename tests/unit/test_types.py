"""The settings as types: they are those of the configuration, and a type checker refuses what is none of them."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

import g2is

ROOT = Path(__file__).resolve().parents[2]
# What is not of the public functions and their settings is not looked into: that says nothing of settings.
MYPY = """[mypy]
strict = true
[mypy-torch.*,transformers.*,peft.*,pyarrow.*,zarr.*,numpy.*,datasets.*,safetensors.*,pydantic.*,pydantic_core.*]
follow_imports = skip
ignore_missing_imports = true
[mypy-sklearn.*,yaml.*,threadpoolctl.*,accelerate.*,scipy.*,pandas.*,huggingface_hub.*,jinja2.*,zstandard.*]
follow_imports = skip
ignore_missing_imports = true
[mypy-g2is.*]
follow_imports = skip
[mypy-g2is,g2is.api.*]
follow_imports = silent
"""
RIGHT = """
from pathlib import Path
from types import ModuleType
import g2is
from g2is.api.settings import SelectionSettings


selection: SelectionSettings = {"budget": 500, "exclude": "ids.txt", "quotas": {"web": "50%"}}
g2is.select(
    pool=["p.jsonl", Path("q.jsonl")],
    target={"math": "t.jsonl"},
    model={"name": Path("m"), "dtype": "float32"},
    out="run",
    budget="5%",
    method="less",
    warmup={"learning_rate": 1e-3, "epochs": 2, "lora": {"rank": 8, "target_modules": ["q_proj"]}},
    gradients={"forms": "less", "projection": {"dim": 512}},
    execution={"batch_tokens": "auto", "report_to": ["wandb"]},
    selection=selection,
)
g2is.walk_matrices(pool_gradients="p.npy", target_gradients="t.npy", out="run", method="g2is")
g2is.train(data="run", model="m", out="t", tuning={"epochs": 1})
g2is.evaluate(model="m", out="e", test="t.jsonl", evaluation={"tasks": ["gsm8k"], "metrics": "loss"})
g2is.compare(pool="p", target="t", test="s", model="m", out="c", tuning={"epochs": 1}, keep_adapters=True)
g2is.inspect("f.jsonl", examples={"layout": "alpaca"})
g2is.warm_up(pool="p", target="t", model="m", out="o", representation={"max_terms": 5})
"""
START = "import g2is\n"
ON_POOL = 'pool="p", target="t", model="m", out="o"'
WRONG = {
    f"g2is.select({ON_POOL}, wramup=3)": 'Unexpected keyword argument "wramup" for "select"',
    f'g2is.select({ON_POOL}, warmup={{"epoch": 3}})': 'Extra key "epoch" for TypedDict "WarmupSettings"',
    f'g2is.select({ON_POOL}, warmup={{"lora": {{"rnk": 3}}}})': 'Extra key "rnk" for TypedDict "LoraSettings"',
    f'g2is.select({ON_POOL}, warmup={{"epochs": "three"}})': 'TypedDict item "epochs" has type "int"',
    f'g2is.select({ON_POOL}, examples={{"layout": "chatml"}})': 'TypedDict item "layout"',
    'g2is.select(pool="p", target="t", model={"nmae": "m"}, out="o")': 'Argument "model" to "select"',
    f"g2is.warm_up({ON_POOL}, gradient={{}})": 'Unexpected keyword argument "gradient" for "warm_up"',
    f"g2is.extract_gradients({ON_POOL}, budget=5)": 'Unexpected keyword argument "budget" for "extract_gradients"',
    'g2is.walk_matrices(pool_gradients="p", target_gradients="t", out="o", metod="less")': 'argument "metod"',
    'g2is.train(data="d", model="m", out="o", warmup={})': 'Unexpected keyword argument "warmup" for "train"',
    'g2is.train(data="d", model="m", out="o", tuning={"epoch": 1})': 'Extra key "epoch" for TypedDict "TuningSettings"',
    'g2is.evaluate(model="m", out="o", evaluation={"metrics": "bleu"})': 'TypedDict item "metrics"',
    f'g2is.compare({ON_POOL}, test="s", seeds=3)': 'Unexpected keyword argument "seeds" for "compare"',
    'g2is.inspect("f", exmaples={})': 'Unexpected keyword argument "exmaples" for "inspect"',
}


def test_the_types_are_those_of_the_configuration() -> None:
    spec = importlib.util.spec_from_file_location("write_types", ROOT / "scripts/write_types.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert (ROOT / "src/g2is/api/settings.py").read_text() == script.page(), "run python scripts/write_types.py"


@pytest.mark.slow
def test_a_type_checker_takes_what_is_right_and_names_each_setting_that_is_none(tmp_path: Path) -> None:
    pytest.importorskip("mypy", reason="mypy is not installed")
    lines = [*START.splitlines(), *WRONG]
    (tmp_path / "right.py").write_text(RIGHT)
    (tmp_path / "wrong.py").write_text("\n".join(lines) + "\n")
    (tmp_path / "mypy.ini").write_text(MYPY)
    options = ("--config-file", "mypy.ini", "--cache-dir", "cache")
    command = [sys.executable, "-m", "mypy", *options, "right.py", "wrong.py"]
    environment = {"MYPYPATH": str(ROOT / "src"), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert "right.py" not in done.stdout, done.stdout
    for number, (code, told) in enumerate(WRONG.items(), start=len(START.splitlines()) + 1):
        found = [line for line in done.stdout.splitlines() if line.startswith(f"wrong.py:{number}: error:")]
        assert any(told in line for line in found), (code, found, done.stdout + done.stderr)


def test_dir_lists_what_there_is_and_nothing_else_that_is_public() -> None:
    found = [name for name in dir(g2is) if not name.startswith("_")]
    assert found == g2is.__all__
    assert {"__version__", "__doc__", "__file__"} <= set(dir(g2is))
