"""What every command has, whichever it is: seen of the command line itself, so that a new command cannot lack it."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import typer

from g2is.cli.app import app, main

ROOT = Path(__file__).resolve().parents[3]


def commands(group: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    for own, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{own} ")
        else:
            yield name + own, command


COMMANDS = dict(commands(typer.main.get_command(app)))


@pytest.fixture
def g2is(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["g2is", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "120")
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return run


def flags(command: Any) -> set[str]:
    return {name for parameter in command.params for name in parameter.opts}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_the_flags_of_all(name: str, g2is: Callable[..., tuple[int, str, str]]) -> None:
    found = flags(COMMANDS[name])
    assert found >= {"--quiet", "-q", "--verbose", "-v", "--version", "-V", "--json", "--config"}
    for flag in ("-h", "--help"):
        code, out, err = g2is(*name.split(), flag)
        assert (code, err) == (0, "")
        assert f"g2is {name}" in out
        assert all(flag in out for flag in ("-h", "--help", "-q", "--quiet", "-V", "--version"))
    for flag in ("-V", "--version"):
        assert g2is(*name.split(), flag) == (0, f"g2is {version('g2is')}\n", "")


@pytest.mark.parametrize("arguments", [["-h"], ["--help"], ["store", "-h"]])
def test_the_groups_have_help_of_one_letter_too(
    arguments: list[str], g2is: Callable[..., tuple[int, str, str]]
) -> None:
    code, out, err = g2is(*arguments)
    assert (code, err) == (0, "")
    assert "Usage" in out
    assert g2is("-V") == (0, f"g2is {version('g2is')}\n", "")


@pytest.mark.parametrize("name", [name for name in COMMANDS if "--config" in flags(COMMANDS[name])])
def test_no_argument_that_a_file_may_say_is_asked_for_whatever_the_file_says(name: str) -> None:
    # versions of typer before it had a click of its own look at no default of an argument with several values
    arguments = [of for of in COMMANDS[name].params if of.param_type_name == "argument"]
    assert not [of.name for of in arguments if of.required and of.nargs == -1]


def test_flags_of_trainings_are_where_a_training_takes_place() -> None:
    train = {name for name, command in COMMANDS.items() if {"--learning-rate", "--rank"} <= flags(command)}
    assert train == {"select", "plan", "warmup", "gradients", "walk", "train", "compare"}
    assert {name for name, command in COMMANDS.items() if "--seed" in flags(command)} == train - {"compare"}


def test_the_docs_name_every_flag_of_all_and_every_variable() -> None:
    page = (ROOT / "docs/selecting.md").read_text(encoding="utf-8")
    for flag in ("-h", "-V", "-q", "-v", "--json", "--config FILE", "--learning-rate", "--rank", "--seed"):
        assert f"`{flag}`" in page
    for variable in ("G2IS_STORE", "HF_HOME", "HF_HUB_OFFLINE=1", "HF_TOKEN"):
        assert f"`{variable}`" in page
    assert "--install-completion" in page
    without = {name for name, command in COMMANDS.items() if "--set" not in flags(command)}
    (told,) = (line for line in page.split("\n- ") if line.startswith("`--config` is of every command. For "))
    assert set(re.findall(r"`([a-z][a-z ]*)`", told.partition(", which have")[0])) == without


def test_a_flag_of_all_counts_once(g2is: Callable[..., tuple[int, str, str]]) -> None:
    code, out, err = g2is("methods", "-q", "--quiet")
    assert (code, out) == (2, "")
    assert "expected --quiet once, found it 2 times" in err


def test_the_methods_as_json(g2is: Callable[..., tuple[int, str, str]]) -> None:
    code, out, err = g2is("methods", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["methods"]["less"]["settings"]["selector"] == "top"
    assert "orient" in found["selectors"]["top"]["settings"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("g2is sel", "select"),
        ("g2is select --learning", "--learning-rate"),
        ("g2is select --method les", "less-rr"),
        ("g2is store ", "gc"),
        ("g2is train --set tuning.epochs=1 --qu", "--quiet"),
        ("g2is select --config none.yaml --met", "--method"),
    ],
)
def test_a_shell_completes_commands_flags_and_methods(words: str, expected: str) -> None:
    asked = {"_G2IS_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1)}
    done = subprocess.run(
        [sys.executable, "-m", "g2is"], capture_output=True, text=True, check=False, env={**os.environ, **asked}
    )
    assert done.stderr == ""
    assert expected in done.stdout.split()


def test_a_shell_gets_a_script_that_completes() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "g2is", "--show-completion", "bash"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert "_G2IS_COMPLETE=complete_bash" in done.stdout
