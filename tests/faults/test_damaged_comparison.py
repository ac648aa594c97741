"""What finished cells ask for no more is made good too, and no comparison gets the settings of another."""

import shutil

import pytest

from faults.made import contents, made_folders, run_command

WARMUP = "store/seed-0/warmup"
COSTS = "store/seed-0/costs.json"
# file, and whether it is another comparison's that takes its place; else it is emptied
CASES = [
    ("digests.json", True),
    (f"{WARMUP}/sample.json", False),
    (f"{WARMUP}/complete.json", False),
    (f"{WARMUP}/epoch-2/moments.safetensors", False),
    ("store/seed-0/gradients/pool/epoch-2/less/rows/c/1/0", True),
    (COSTS, False),
    (COSTS, True),
]
_SAY_TIMES = ("costs.json", "seconds.json", "summary.json", "digests.json", "comparison.md")


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_damaged_file_of_a_finished_comparison_is_named_and_made_anew() -> None:
    with made_folders(("compare",)) as (made, scratch):
        folder = scratch / "damaged"
        for file, of_another in CASES:
            made.copy("compare", folder)
            before = contents(folder)
            if of_another:
                shutil.copyfile(made.other("compare") / file, folder / file)
            else:
                (folder / file).write_bytes(b"")
            code, text = run_command("verify", folder)
            assert code == 2, file
            assert f"{folder / file}: " in text, f"{file}: {text}"
            code, text = run_command("verify", folder, "--repair")
            assert code == 0, f"{file}: {text}"
            after = contents(folder)
            gone = {COSTS} & {file}  # times that nobody can tell again
            assert before.keys() - after.keys() == gone, file
            assert made.use("compare", folder)[2] == made.expected["compare"], file
            settings = folder / "config.yaml"
            assert settings.read_bytes() == before["config.yaml"]
            same = [name for name in before if name.startswith("store/") and not name.endswith(_SAY_TIMES)]
            assert {name: after[name] for name in same} == {name: before[name] for name in same}, file
