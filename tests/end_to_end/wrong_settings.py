"""The error catalogue, part two: the command line, settings, budgets, targets and models."""

import json
from collections.abc import Callable

import yaml
from small_run import MODEL
from wrong_input import Case, Place, case


def flags(*given: object) -> Callable[[Place], list[object]]:
    """A `select` with these flags beside right ones."""
    return lambda place: place.select(*given)


def setting(text: str) -> Callable[[Place], list[object]]:
    return flags("--set", text)


def _config(change: Callable[[dict[str, dict[str, object]]], object]) -> Callable[[Place], list[object]]:
    """A `run` of the finished run's config.yaml, changed."""

    def command(place: Place) -> list[object]:
        values = yaml.safe_load((place.finished / "config.yaml").read_text())
        change(values)
        return ["run", place.text("config.yaml", yaml.safe_dump(values)), "--out", place.here / "run"]

    return command


def _config_text(text: str) -> Callable[[Place], list[object]]:
    return lambda place: ["run", place.text("config.yaml", text)]


COMMAND_LINE: dict[str, Case] = {
    "unknown flag": case(flags("--bugdet", 3), "g2is select: expected a flag that it has, found --bugdet; did you mean --budget? "),
    "unknown flag of one dash": case(flags("-modle", "x"), "found -modle; did you mean --model? "),
    "unknown flag like no other": case(lambda _: ["export", "x", "--zzz"], "g2is export: expected a flag", "found --zzz; the flags are --help"),
    "unknown command": case(lambda _: ["selct"], "g2is: expected", "No such command 'selct'. Did you mean 'select'", "`g2is --help`"),
    "missing flag": case(lambda place: ["select", place.pool, place.target, "--out", place.here / "run"], "g2is select: expected --model (causal language model", "found none; see `g2is select --help`"),
    "missing argument": case(lambda _: ["export"], "g2is export: expected RUN (a run folder with a selection in it), found none; see `g2is export --help`"),
    "a flag without its value": case(lambda _: ["select", "--model"], "g2is select: expected a value after --model, found none; see `g2is select --help`"),
    "a switch with a value": case(flags("--dry-run=yes"), "g2is select: expected no value after --dry-run, found one; see `g2is select --help`"),
    "an argument too many": case(lambda place: ["export", place.here / "a", "b"], "g2is export: expected arguments as `g2is export --help` says", "unexpected extra argument", "(b)"),
    "no target": case(lambda place: ["select", place.pool, *place.select()[3:]], "g2is select: expected a pool and a target, found 1 file and no --target; write `g2is select POOL TARGET`"),
    "walk of nothing": case(lambda place: ["walk", "--out", place.here / "run"], "g2is walk: expected POOL, TARGET and --model, or --pool-gradients and --target-gradients; found neither complete"),
    "unknown setting": case(setting("warmup.epoch=2"), "warmup.epoch: unknown; did you mean warmup.epochs?"),
    "unknown section": case(setting("wramup.epochs=2"), "wramup", "unknown; did you mean warmup?"),
    "malformed --set": case(setting("warmup.epochs"), "--set: expected KEY=VALUE such as warmup.epochs=2, found 'warmup.epochs'"),
    "--set of no YAML": case(setting("warmup.epochs=[1"), "--set warmup.epochs=[1: expected a number, word or [list], found '[1'"),
    "--set below a setting": case(lambda place: [*place.select(), "--set", "out.x=1"], "--set out.x=1: out is one setting and has no setting 'x' in it"),
    "wrong type of setting": case(setting("warmup.epochs=few"), "warmup.epochs: expected a valid integer", "found 'few'"),
    "setting out of range": case(setting("warmup.epochs=0"), "warmup.epochs: expected", "greater than or equal to 1", "found 0"),
    "several wrong settings": case(flags("--set", "warmup.epochs=0", "--set", "warmup.beta1=1", "--device", "cpu"), "2 setting(s) cannot be used", "warmup.epochs: expected", "warmup.beta1: expected", "less than 1, found 1"),
    "a form that is not stored": case(setting("selection.form=adam"), "\n  selection.form: expected one of gradients.forms, which stores only ['less'], found 'adam'"),
    "a date that is none": case(setting("examples.date=2025-02-31"), "examples.date: expected a day of the calendar, such as 2025-01-31, found '2025-02-31'"),
    "unknown preset": case(flags("--preset", "best"), "selection.preset: expected 'g2is' or 'official', found 'best'"),
    "unknown device": case(flags("--device", "gpu7"), "execution.device: expected a device of this machine, found 'gpu7'"),
    "one of several GPUs": case(flags("--device", "cuda:1"), "execution.device: expected cpu or cuda, found 'cuda:1'", "CUDA_VISIBLE_DEVICES"),
    "no config": case(lambda place: ["run", place.here / "none.yaml"], "none.yaml: expected a YAML config, such as the config.yaml of a run's folder, but it cannot be read: No such file"),
    "config of no YAML": case(_config_text("a: [1\nb: 2\n"), "config.yaml: expected a YAML config, such as the config.yaml of a run's folder", "line 2"),
    "config of no mapping": case(_config_text("- 1\n"), "config.yaml: expected a YAML mapping of settings, found list"),
    "config that is binary": case(_config_text("\x00\x01"), "config.yaml: expected a YAML config"),
    "config with too little": case(_config_text("budget: 3\n"), "config.yaml: ", "pool: required, but not given", "budget: unknown; did you mean"),
    "config with an unknown key": case(_config(lambda values: values["warmup"].update(epochz=3)), "config.yaml: 1 setting(s) cannot be used", "warmup.epochz: unknown; did you mean warmup.epochs?"),
    "config with a wrong type": case(_config(lambda values: values["selection"].update(delta="big")), "config.yaml: ", "selection.delta: expected a valid number", "found 'big'"),
}  # fmt: skip

BUDGETS: dict[str, Case] = {
    "budget of nothing": case(flags("--budget", "0"), "budget: expected at least one row, but 0 of a pool of 150 rows is 0; ask for more"),
    "negative budget": case(flags("--budget", "-3"), "budget: expected a number of tokens such as '2Mtok'", "a number of rows such as '500', found '-3'"),
    "budget above the pool": case(flags("--budget", "151"), "budget: expected at most the pool's 150 rows, found 151 = 151 rows; ask for fewer"),
    "budget above the whole": case(flags("--budget", "101%"), "budget: expected at most the pool's 150 rows, found 101%"),
    "malformed budget": case(flags("--budget", "some"), "budget: expected a number of tokens", "found 'some'"),
    "budget below one row": case(flags("--budget", "0.5%"), "budget: expected at least one row, but 0.5% of a pool of 150 rows is 0; of 150 rows, one row is 0.667%; ask for more"),
    "malformed tokens": case(flags("--budget", "2Xtok"), "budget: expected a number of tokens such as '2Mtok'", "found '2Xtok'"),
    "tokens below one row": case(flags("--budget", "1tok"), "budget: expected at least ", "which is the shortest of the pool's 150 rows, found 1tok = 1 tokens; ask for more"),
    "tokens above the pool": case(flags("--budget", "9Gtok"), "budget: expected at most the ", "tokens of the pool's 150 rows, found 9Gtok", "ask for fewer"),
    "two budgets": case(flags("--budget", "5", "--budget", "6"), "g2is select: expected --budget once, found it 2 times; leave out all but one"),
    "two budgets, one of them a setting": case(flags("--budget", "5", "--set", "selection.budget=6"), "--set selection.budget=6: expected selection.budget once, found a flag or argument that says 5 too; leave one"),
}  # fmt: skip


def several(*given: object) -> Callable[[Place], list[object]]:
    """A `select` for the targets a and b with these flags."""

    def command(place: Place) -> list[object]:
        a, b = place.rows("a.jsonl", *_answers("a", 2)), place.rows("b.jsonl", *_answers("b", 2))
        return ["select", place.pool, "--target", f"a={a}", "--target", f"b={b}", *place.select(*given)[3:]]

    return command


def _answers(name: str, num: int) -> list[dict[str, str]]:
    return [{"prompt": f"{name} {n}", "completion": "yes"} for n in range(num)]


def ids(flag: str, content: str | bytes) -> Callable[[Place], list[object]]:
    return lambda place: place.select(flag, place.text("ids.txt", content))


def _both_lists(place: Place) -> list[object]:
    first = json.loads(place.pool.read_text().splitlines()[0])["id"]
    return place.select("--include", place.text("in.txt", first), "--exclude", place.text("out.txt", first))


def _all_left_out(place: Place) -> list[object]:
    all_ids = [json.loads(line)["id"] for line in place.pool.read_text().splitlines()]
    return place.select("--exclude", place.text("ids.txt", "\n".join(all_ids)))


def _more_than_paid_for(place: Place) -> list[object]:
    all_ids = [json.loads(line)["id"] for line in place.pool.read_text().splitlines()]
    return place.select("--include", place.text("ids.txt", "\n".join(all_ids[:4])), "--budget", "3")


def _included_overlaps(place: Place) -> list[object]:
    first = json.loads(place.pool.read_text().splitlines()[0])
    test = place.rows("test.jsonl", {"messages": first["messages"]})
    return place.select("--include", place.text("ids.txt", first["id"]), "--exclude-overlap", test)


TARGETS: dict[str, Case] = {
    "a target without a file": case(lambda place: ["select", place.pool, *place.select("--target", "a=")[3:]], "--target a=: expected a file after the =, found nothing"),
    "a target that is not there": case(lambda place: ["select", place.pool, *place.select("--target", "a=none.jsonl")[3:]], "none.jsonl: expected a file, found none"),
    "the same target twice": case(lambda place: ["select", place.pool, *place.select("--target", f"a={place.target}", "--target", f"b={place.target}")[3:]], "target b: expected other examples than those of target a, found the same content; name each file once"),
    "share of no target": case(several("--share", "a=1", "--share", "bb=2"), "selection.shares: no target is called 'bb'; did you mean 'b'?"),
    "a target without a share": case(several("--share", "a=1"), "selection.shares: expected a share for each target, found none for b"),
    "malformed --share": case(several("--share", "a"), "--share: expected --share math=2, found 'a'"),
    "--share of no number": case(several("--share", "a=much", "--share", "b=1"), "--share a=much: expected a number such as 2 or 0.5, found 'much'"),
    "a negative share": case(several("--share", "a=-1", "--share", "b=1"), "selection.shares: expected positive numbers, found a = -1"),
    "a share twice": case(several("--share", "a=1", "--share", "a=2"), "--share: expected each name once, found 'a' twice: 1 and 2"),
    "quota of no source": case(flags("--quota", "web=50%"), "quota of 'web': no row of the pool has this source; the sources are "),
    "malformed quota": case(flags("--quota", "web"), "--quota: expected --quota web=50%, found 'web'"),
    "a list to include that is not there": case(lambda place: place.select("--include", place.here / "none.txt"), "none.txt: expected a list of ids, one a line, found no such file; check the path"),
    "an empty list to exclude": case(ids("--exclude", "\n"), "ids.txt: expected a list of ids, one a line, found none; leave the list out or fill it"),
    "unknown ids": case(ids("--exclude", "zzz\n"), "found 1 that no row has (the pool's first is ", "ids.txt:1: zzz", "Correct them or take them off the list."),
    "ids of no UTF-8": case(ids("--include", b"\xff\xfe"), "ids.txt: expected a list of ids in UTF-8, found byte 0xff at byte 1; save it as UTF-8"),
    "an id to include and to exclude": case(_both_lists, "expected ids either to include or to exclude, found in both lists", "in.txt:1", "out.txt:1"),
    "nothing left of the pool": case(_all_left_out, "expected at least one row of the pool to stay, found all 150 left out; exclude fewer"),
    "more to include than the budget pays": case(_more_than_paid_for, "budget: expected at least the 4 rows of the 4 rows to include, found 3 = 3 rows; ask for more, or include fewer"),
    "a test set that is not there": case(lambda place: place.select("--exclude-overlap", place.here / "test.jsonl"), "test.jsonl: expected a file, found none"),
    "a row to include that is in the test set": case(_included_overlaps, "expected rows to include that do not overlap with the test set", "ids.txt:1", "do without --exclude-overlap"),
}  # fmt: skip


def model(*without: str, flags: tuple[object, ...] = (), **settings: object) -> Callable[[Place], list[object]]:
    return lambda place: place.select(*flags, model=place.model(without, **settings))


def _weights(spoil: Callable[[bytes], bytes]) -> Callable[[Place], list[object]]:
    def command(place: Place) -> list[object]:
        folder = place.model()
        (folder / "model.safetensors").write_bytes(spoil((MODEL / "model.safetensors").read_bytes()))
        return place.select(model=folder)

    return command


def _missing_shard(place: Place) -> list[object]:
    folder = place.model()
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    index = {"metadata": {}, "weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return place.select(model=folder)


def _pickled(place: Place) -> list[object]:
    folder = place.model()
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    return place.select(model=folder)


def _config_of_no_json(place: Place) -> list[object]:
    folder = place.model()
    (folder / "config.json").write_text("{")
    return place.select(model=folder)


MODELS: dict[str, Case] = {
    "model that is not there": case(lambda place: place.select(model=place.here / "none"), "none: expected a model folder, found no folder there; name a local folder, or a hub model"),
    "model that the hub does not give": case(lambda place: place.select(model="nobody/nothing"), "nobody/nothing: expected a model, found no folder of that name, and the hub does not give it", "name a local folder, or a hub model that this machine can reach"),
    "model without config": case(model("config.json"), "model: expected a Hugging Face model folder with config.json, found none there; name the folder"),
    "model with a damaged config": case(_config_of_no_json, "model: expected a config.json that transformers can read", "JSON"),
    "model without tokenizer": case(model("tokenizer.json", "tokenizer_config.json"), "model: expected a tokenizer beside the model, found none of tokenizer.json", "Save it there with the tokenizer's save_pretrained"),
    "model without safetensors": case(_pickled, "model: expected weights in *.safetensors, found none", "g2is loads no pickled weights: convert them"),
    "model without a template where one is asked for": case(model("chat_template.jinja", flags=("--set", "examples.template=chat")), "model: expected a chat template, found none; use --set examples.template=plain"),
    "model that is not causal": case(model(model_type="bert", architectures=["BertForMaskedLM"]), "model: expected a causal language model, found model_type 'bert', architectures ['BertForMaskedLM']; name a model that writes text"),
    "weights cut short": case(_weights(lambda whole: whole[:-999]), "model.safetensors: expected", "found", "download"),
    "weights that are none": case(_weights(lambda _: b"<html>"), "model.safetensors: expected", "found", "download"),
    "a shard of the weights is missing": case(_missing_shard, "model: expected the 2 files of weights that model.safetensors.index.json lists, found no model-00002-of-00002.safetensors", "download"),
    "unknown LoRA target": case(setting("warmup.lora.target_modules=[q_prj]"), "warmup.lora.target_modules: expected the name of a linear layer", "found 'q_prj'", "Its linear layers are: ", "q_proj"),
    "LoRA target that is no linear layer": case(setting("warmup.lora.target_modules=[embed_tokens]"), "warmup.lora.target_modules: expected names of linear layers (nn.Linear or Conv1D), found 'embed_tokens', which names model.embed_tokens (Embedding)", "leave the name out"),
}  # fmt: skip
