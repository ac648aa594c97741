"""What is said of a command line that cannot be read: what was expected, what was found, and what may be meant."""

import difflib
import sys
from collections.abc import Iterable
from typing import Any

from g2is.config.suggest import OTHER_NAMES, called, keys_of
from g2is.methods import Section

# What other programs call a flag or command, where it is not the name of the setting (config/suggest.py).
_OTHER_FLAGS = {
    **dict.fromkeys(("--output", "--output-dir", "--out-dir", "--save-dir", "-o"), "--out"),
    **dict.fromkeys(("--model-name", "--model-path", "--model-name-or-path", "--base-model", "-m"), "--model"),
    **dict.fromkeys(("-n", "-k", "--num", "--size", "--top-k", "--ratio", "--percent", "--percentage"), "--budget"),
    **dict.fromkeys(("--validation", "--val", "--dev", "--reference"), "--target"),
    **dict.fromkeys(("--gpu", "--gpus", "--cuda"), "--device"),
    **dict.fromkeys(("--num-workers", "--jobs", "-j", "--num-proc"), "--workers"),
    **dict.fromkeys(("--checkpoint", "--lora", "--peft"), "--adapter"),
    **dict.fromkeys(("--format", "--layout"), "--schema"),
    **dict.fromkeys(("--settings", "--cfg", "-c", "--yaml"), "--config"),
    **dict.fromkeys(("--silent", "-s"), "--quiet"),
    **dict.fromkeys(("--selector", "--strategy", "--algorithm"), "--method"),
    **dict.fromkeys(("--plan", "--estimate", "--check"), "--dry-run"),
    **dict.fromkeys(("--tasks",), "--task"),
}
_OTHER_COMMANDS = {
    **dict.fromkeys(("filter", "score", "choose", "pick", "sample"), "select"),
    **dict.fromkeys(("finetune", "fine-tune", "tune", "sft", "fit"), "train"),
    **dict.fromkeys(("eval", "test"), "evaluate"),
    **dict.fromkeys(("bench", "benchmark"), "compare"),
    **dict.fromkeys(("check", "fsck"), "verify"),
    **dict.fromkeys(("why",), "explain"),
    **dict.fromkeys(("cost", "costs", "estimate", "forecast"), "plan"),
    **dict.fromkeys(("replay", "rerun", "resume"), "run"),
    **dict.fromkeys(("extract", "grads", "features"), "gradients"),
    **dict.fromkeys(("view", "look", "head"), "inspect"),
    **dict.fromkeys(("example", "sample-run", "quickstart"), "demo"),
    **dict.fromkeys(("list", "list-methods", "algorithms"), "methods"),
}
_NEARLY = 0.88  # a letter or two of a flag: nearer than a setting that happens to be called so


def usage(error: Any) -> str:
    """What is wrong with the command line, where, and what is nearest to it, from typer's own error."""
    kind = type(error).__name__
    context: Any = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "g2is"
    see = f"see `{command} --help`"
    if kind == "NoSuchOption":
        given = _as_given(error.option_name)
        known = ["--help", *(name for of in context.command.params for name in of.opts if name.startswith("--"))]
        near = _flag_meant(given, known, str(context.info_name))
        hint = f"did you mean {near}? Or {see}" if near else f"the flags are {', '.join(sorted(known))}"
        return f"{command}: expected a flag that it has, found {given}; {hint}"
    if kind == "MissingParameter" and error.param is not None:
        name = error.param.opts[0] if error.param.param_type_name == "option" else error.param.name.upper()
        return missing(command, name, error.param.help)
    if kind == "BadOptionUsage":
        wants = "requires" in error.message
        expected, found = ("a value after", "none") if wants else ("no value after", "one")
        return f"{command}: expected {expected} {error.option_name}, found {found}; {see}"
    return (
        f"{command}: expected arguments as {see.removeprefix('see ')} says, found otherwise: {error.format_message()}"
    )


def missing(command: str, name: str, told: str | None) -> str:
    """What is said of a flag or argument that a command cannot do without; `told` is its help."""
    return f"{command}: expected {name}{f' ({told})' if told else ''}, found none; see `{command} --help`"


def no_such_command(given: str, known: Iterable[str], group: str) -> str:
    """What is said of a command that the `group` has not."""
    commands = sorted(known)
    if given.lower() in ("help", "version"):
        return f"{group}: expected a command, found {given!r}; did you mean `g2is --{given.lower()}`?"
    meant = _OTHER_COMMANDS.get(given.lower())
    near = [meant] if meant in commands else difflib.get_close_matches(given, commands, n=1)
    hint = f"did you mean {near[0]}? Or see `{group} --help`" if near else f"the commands are {', '.join(commands)}"
    return f"{group}: expected a command that it has, found {given!r}; {hint}"


def _flag_meant(given: str, known: list[str], command: str) -> str:
    """The flag, or the setting that has none, that is likely to be meant; empty if none is near."""
    name = given.lstrip("-").replace("-", "_").lower()
    candidates = [_OTHER_FLAGS.get(given.lower(), ""), f"--{name.replace('_', '-')}"]
    candidates += [f"--{other.replace('_', '-')}" for other in OTHER_NAMES.get(name, ())]
    if flag := next((flag for flag in candidates if flag in known), ""):
        return flag
    if nearly := difflib.get_close_matches(given, known, n=1, cutoff=_NEARLY):
        return nearly[0]
    if keys := dict.fromkeys(key for model in _settings_of(command) for key in called(name, keys_of(model))):
        return " or ".join(f"--set {key}=…" for key in keys)
    near = difflib.get_close_matches(given, known, n=1) or difflib.get_close_matches(f"-{given}", known, n=1)
    return near[0] if near else ""


def _settings_of(command: str) -> list[type[Section]]:
    """The settings of a command that takes any with --set; of `run`, those of whatever it replays."""
    if command not in ("select", "warmup", "gradients", "walk", "plan", "train", "evaluate", "compare", "run"):
        return []
    from g2is.config.commands import COMMANDS

    if command == "run":
        return [*COMMANDS.values()]
    return [COMMANDS[command if command in ("train", "evaluate", "compare") else "select"]]


def _as_given(option: str) -> str:
    """The flag that the user wrote, where typer took it for a cluster of one-letter ones: -model is no -m."""
    if option.startswith("--"):
        return option
    words = [word for word in sys.argv[1:] if word.startswith("-") and not word.startswith("--")]
    return next((word for word in words if option[1:] in word[1:2]), None) or next(
        (word for word in words if len(word) > 2 and option[1:] in word[1:]), option
    )
