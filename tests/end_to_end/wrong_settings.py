"""The error catalogue: the command line, settings, config files and budgets."""

from collections.abc import Callable
from typing import Any

import yaml
from wrong_input import Case, Place, case, flags, setting


def _config(change: Callable[[dict[str, Any]], object]) -> Callable[[Place], list[object]]:
    """A `run` of the finished run's config.yaml, changed."""

    def command(place: Place) -> list[object]:
        values = yaml.safe_load((place.finished / "config.yaml").read_text())
        change(values)
        return ["run", place.text("config.yaml", yaml.safe_dump(values)), "--out", place.here / "run"]

    return command


def _config_text(text: str, *more: str) -> Callable[[Place], list[object]]:
    return lambda place: ["run", place.text("config.yaml", text), *more]


COMMAND_LINE: dict[str, Case] = {
    "unknown flag": case(
        flags("--bugdet", 3),
        "g2is select: expected a flag that it has, found --bugdet; did you mean --budget? ",
    ),
    "unknown flag of one dash": case(flags("-modle", "x"), "found -modle; did you mean --model? "),
    "unknown flag like no other": case(
        lambda _: ["export", "x", "--zzz"],
        "g2is export: expected a flag", "found --zzz; the flags are --config, --for, --help, --json, --push-to-hub,",
    ),
    "unknown command": case(
        lambda _: ["selct"],
        "g2is: expected a command that it has, found 'selct'; did you mean select? Or see `g2is --help`",
    ),
    "unknown command of a group": case(
        lambda _: ["store", "lst"],
        "g2is store: expected a command that it has, found 'lst'; did you mean ls? Or see `g2is store --help`",
    ),
    "a command by another name": case(lambda _: ["finetune"], "found 'finetune'; did you mean train? "),
    "help as a command": case(lambda _: ["help"], "found 'help'; did you mean `g2is --help`?"),
    "a command like no other": case(lambda _: ["zzz"], "found 'zzz'; the commands are compare, demo, evaluate,"),
    "a flag by another name": case(flags("--lr", 1), "found --lr; did you mean --learning-rate? "),
    "a flag of several letters less": case(lambda _: ["compare", "--seed", 1], "found --seed; did you mean --seeds? "),
    "a setting as a flag": case(flags("--epochs", 3), "found --epochs; did you mean --set warmup.epochs=…? "),
    "a setting as a flag, by another name": case(
        lambda place: place.train(place.target, flags=["--bs", 4]),
        "g2is train: expected a flag that it has, found --bs; did you mean --set tuning.batch_size=…? ",
    ),
    "a setting as a flag of a replay": case(
        lambda _: ["run", "config.yaml", "--budget", "5"],
        "g2is run: expected a flag that it has, found --budget; did you mean --set selection.budget=…? ",
    ),
    "more and less at once": case(
        flags("--quiet", "--verbose"),
        "--quiet: expected it or --verbose, found both; leave one of them out",
    ),
    "a learning rate that is none": case(
        lambda place: [*place.select()[:7], "--learning-rate", "fast", "--rank", "0"],
        "2 setting(s) cannot be used", "warmup.learning_rate: expected a valid number", "found 'fast'", "lora.rank",
    ),
    "a learning rate twice": case(
        flags("--learning-rate", "1e-3"),
        "expected warmup.learning_rate once, found a flag that says 1e-3 too; leave one",
    ),
    "a seed that nothing is drawn by": case(
        lambda place: place.walk("--seed", 1),
        "--seed: expected the selector random, which looks at it, found design",
    ),
    "a file of flags with another": case(
        lambda place: ["show", "--config", place.text("flags.yaml", "run: x\nrow: 3\n")],
        "flags.yaml: expected flags of `g2is show`, found 'row'; did you mean rows?",
    ),
    "a file of flags that says settings": case(
        lambda place: ["verify", "--config", place.finished / "config.yaml"],
        "config.yaml: expected flags of `g2is verify`, which has no settings, found those of `g2is select`; name",
    ),
    "a file of flags with two values for one": case(
        lambda place: ["report", "--config", place.text("flags.yaml", "run: [a, b]\n")],
        "flags.yaml: run: expected one value, found list ['a', 'b']",
    ),
    "nothing to replay": case(lambda _: ["run"], "g2is run: expected CONFIG (a config.yaml, as", "found none; see"),
    "two files to replay": case(
        lambda _: ["run", "a.yaml", "--config", "b.yaml"],
        "--config: expected one file to replay, found b.yaml beside a.yaml; leave one out",
    ),
    "a file of settings that is not there": case(
        flags("--config", "none.yaml"),
        "none.yaml: expected a YAML config, such as the config.yaml of a run's folder", "No such file",
    ),
    "a file of settings of another command": case(
        lambda place: place.train(place.target, flags=["--config", place.finished / "config.yaml"]),
        "config.yaml: expected settings of `g2is train`, found those of `g2is select`; name another file",
    ),
    "a file of settings with a wrong name": case(
        lambda place: [*place.select()[:7], "--config", place.text("own.yaml", "warmup: {lr: 1e-3, num_epochs: 2}")],
        "the command line and ", "own.yaml: 2 setting(s) cannot be used",
        "warmup.lr: unknown; did you mean warmup.learning_rate?",
        "warmup.num_epochs: unknown; did you mean warmup.epochs?",
    ),
    "missing flag": case(
        lambda place: ["select", place.pool, place.target, "--out", place.here / "run"],
        "g2is select: expected --model (causal language model", "found none; see `g2is select --help`",
    ),
    "missing argument": case(
        lambda _: ["export"],
        "g2is export: expected RUN (a run folder with a selection in it), found none; see `g2is export --help`",
    ),
    "a flag without its value": case(
        lambda _: ["select", "--model"],
        "g2is select: expected a value after --model, found none; see `g2is select --help`",
    ),
    "a switch with a value": case(
        flags("--dry-run=yes"),
        "g2is select: expected no value after --dry-run, found one; see `g2is select --help`",
    ),
    "an argument too many": case(
        lambda place: ["export", place.here / "a", "b"],
        "g2is export: expected arguments as `g2is export --help` says", "unexpected extra argument", "(b)",
    ),
    "no target": case(
        lambda place: ["select", place.pool, *place.select()[3:]],
        "g2is select: expected a pool and a target, found 1 file and no --target", "write `g2is select POOL TARGET`",
    ),
    "walk of nothing": case(
        lambda place: ["walk", "--out", place.here / "run"],
        "g2is walk: expected POOL, TARGET and --model, or --pool-gradients and --target-gradients",
        "found neither complete",
    ),
    "unknown setting": case(setting("warmup.epoch=2"), "warmup.epoch: unknown; did you mean warmup.epochs?"),
    "a setting by another name": case(setting("warmup.lr=1"), "warmup.lr: unknown; did you mean warmup.learning_rate?"),
    "a setting of a section in it": case(setting("warmup.r=8"), "warmup.r: unknown; did you mean warmup.lora.rank?"),
    "a setting without its section": case(setting("max_len=8"), "max_len: unknown; did you mean examples.max_length?"),
    "a section by another name": case(setting("train.epochs=8"), "train: unknown; did you mean warmup?"),
    "unknown section": case(setting("wramup.epochs=2"), "wramup", "unknown; did you mean warmup?"),
    "malformed --set": case(
        setting("warmup.epochs"),
        "--set: expected KEY=VALUE such as warmup.epochs=2, found 'warmup.epochs'",
    ),
    "--set of no YAML": case(
        setting("warmup.epochs=[1"),
        "--set warmup.epochs=[1: expected a number, word or [list], found '[1'",
    ),
    "--set below a setting": case(
        lambda place: [*place.select(), "--set", "out.x=1"],
        "--set out.x=1: out is one setting and has no setting 'x' in it",
    ),
    "a command by --set": case(
        setting("command=train"),
        "--set command=train: expected a setting, found the command, which its own name says", "leave it out",
    ),
    "another command of a config": case(
        lambda place: ["run", place.finished / "config.yaml", "--out", place.here / "run", "--set", "command=train"],
        "--set command=train: expected a setting, found the command", "(and of `g2is run` the file); leave it out",
    ),
    "config of an unknown command": case(
        _config(lambda values: values.update(command="report")),
        "config.yaml: command: expected one of select, walk, compare, train, evaluate, found 'report'",
        "use the version of g2is that wrote the file",
    ),
    "config of another command than its settings": case(
        _config(lambda values: values.update(command="train")),
        "config.yaml: ", "data: required, but not given", "pool: unknown; known: data, out,",
    ),
    "--store for a walk on matrices": case(
        _config_text("command: walk\n", "--store", "s"),
        "config.yaml is no selection from a pool, so it has no store; leave the flag out",
    ),
    "a dry run of an evaluation": case(
        _config_text("command: evaluate\n", "--dry-run"),
        "config.yaml is an evaluation, which has none; leave the flag out",
    ),
    "wrong type of setting": case(
        setting("warmup.epochs=few"),
        "warmup.epochs: expected a valid integer", "found 'few'",
    ),
    "setting out of range": case(
        setting("warmup.epochs=0"),
        "warmup.epochs: expected", "greater than or equal to 1", "found 0",
    ),
    "several wrong settings": case(
        flags("--set", "warmup.epochs=0", "--set", "warmup.beta1=1", "--device", "cpu"),
        "2 setting(s) cannot be used", "warmup.epochs: expected", "warmup.beta1: expected", "less than 1, found 1",
    ),
    "a form that is not stored": case(
        flags("--set", "selection.form=adam", "--set", "gradients.forms=[less]"),
        "\n  selection.form: expected one of gradients.forms, which stores only ['less'], found 'adam'",
    ),
    "a date that is none": case(
        setting("examples.date=2025-02-31"),
        "examples.date: expected a day of the calendar, such as 2025-01-31, found '2025-02-31'",
    ),
    "unknown method": case(flags("--method", "lss"), "selection.method: unknown method 'lss'; did you mean less?"),
    "unknown device": case(
        flags("--device", "gpu7"),
        "execution.device: expected auto, cpu, cuda or mps, found 'gpu7'",
    ),
    "one of several GPUs": case(
        flags("--device", "cuda:1"),
        "execution.device: expected cpu or cuda, found 'cuda:1'", "CUDA_VISIBLE_DEVICES",
    ),
    "no config": case(
        lambda place: ["run", place.here / "none.yaml"],
        "none.yaml: expected a YAML config, such as the config.yaml of a run's folder",
        "but it cannot be read: No such file",
    ),
    "config of no YAML": case(
        _config_text("a: [1\nb: 2\n"),
        "config.yaml: expected a YAML config, such as the config.yaml of a run's folder", "line 2",
    ),
    "config of no mapping": case(_config_text("- 1\n"), "config.yaml: expected a YAML mapping of settings, found list"),
    "config that is binary": case(_config_text("\x00\x01"), "config.yaml: expected a YAML config"),
    "config with too little": case(
        _config_text("budget: 3\n"),
        "config.yaml: ", "pool: required, but not given", "budget: unknown; did you mean",
    ),
    "config with an unknown key": case(
        _config(lambda values: values["warmup"].update(epochz=3)),
        "config.yaml: 1 setting(s) cannot be used", "warmup.epochz: unknown; did you mean warmup.epochs?",
    ),
    "config with a wrong type": case(
        _config(lambda values: values["selection"].update(delta="big")),
        "config.yaml: ", "selection.delta: expected a valid number", "found 'big'",
    ),
}  # fmt: skip

BUDGETS: dict[str, Case] = {
    "budget of nothing": case(
        flags("--budget", "0"),
        "budget: expected at least one row, found 0; ask for more",
    ),
    "negative budget": case(
        flags("--budget", "-3"),
        "budget: expected a number of tokens such as '2Mtok'", "a number of rows such as '500', found '-3'",
    ),
    "budget above the pool": case(
        flags("--budget", "151"),
        "budget: expected at most the pool's 150 rows, found 151 = 151 rows; ask for fewer",
    ),
    "budget above the whole": case(
        flags("--budget", "101%"),
        "budget: expected at most 100% of the pool's rows, found 101%; ask for fewer",
    ),
    "malformed budget": case(flags("--budget", "some"), "budget: expected a number of tokens", "found 'some'"),
    "budget below one row": case(
        flags("--budget", "0.5%"),
        "budget: expected at least one row, but 0.5% of a pool of 150 rows is 0",
        "of 150 rows, one row is 0.667%; ask for more",
    ),
    "malformed tokens": case(
        flags("--budget", "2Xtok"),
        "budget: expected a number of tokens such as '2Mtok'", "found '2Xtok'",
    ),
    "tokens below one row": case(
        flags("--budget", "1tok"),
        "budget: expected at least ",
        "which is the shortest of the pool's 150 rows, found 1tok = 1 tokens; ask for more",
    ),
    "tokens above the pool": case(
        flags("--budget", "9Gtok"),
        "budget: expected at most the ", "tokens of the pool's 150 rows, found 9Gtok", "ask for fewer",
    ),
    "two budgets": case(
        flags("--budget", "5", "--budget", "6"),
        "g2is select: expected --budget once, found it 2 times; leave out all but one",
    ),
    "two budgets, one of them a setting": case(
        flags("--budget", "5", "--set", "selection.budget=6"),
        "--set selection.budget=6: expected selection.budget once",
        "found a flag that says 5 too; leave one",
    ),
}  # fmt: skip
