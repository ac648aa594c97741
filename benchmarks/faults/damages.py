"""Damage to any file of any folder that g2is made: is it seen, is it used, is it mended?

Each case copies a finished folder, damages one file of it, and looks at three things: what `verify` says, what the
folder's own command given again comes to, and what `verify --repair` leaves. Undetected is a damage that `verify` calls
sound though bytes are others, or with which the command ends well in another result.
"""

import random
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faults.made import NAMES, Made, contents, made_folders, run_command

Row = dict[str, Any]
KINDS = ("flip", "truncate", "empty", "delete", "sibling", "other", "digit", "foreign")
_TEXT = (".json", ".jsonl", ".yaml", ".md", ".csv")
_SHARES = {"select": 8, "compare": 4, "train": 3, "evaluate": 3, "stopped": 2}  # of twenty damages


@dataclass(frozen=True)
class Case:
    """A damage: of which folder, which file below it, of what kind."""

    folder: str
    file: str
    kind: str
    seed: int

    def __str__(self) -> str:
        return f"{self.kind} {self.folder}/{self.file} (seed {self.seed})"


@dataclass(frozen=True)
class Outcome:
    """What came of a damage: `unchanged` where the damaged bytes are the old ones, so that nothing was to be seen."""

    case: Case
    seen: bool
    used: str  # "same", "refused", "differs" or "traceback"
    repaired: str  # "same", "refused", "differs", "traceback" or "not tried"
    text: str = ""

    @property
    def undetected(self) -> bool:
        return not self.seen or self.used == "differs"

    @property
    def wrong(self) -> bool:
        """Whether it came out as it must not."""
        ends = (self.used, self.repaired)
        return self.undetected or "differs" in ends or "traceback" in ends


def draw_cases(made: Made, number: int, seed: int) -> list[Case]:
    """`number` cases: each kind alike often, folders by their shares, files by chance."""
    draw = random.Random(seed)
    cases: list[Case] = []
    names = [name for name in made.expected for _ in range(_SHARES[name])]
    draw.shuffle(names)
    files = {
        name: [file for file in contents(made.folder(name)) if not file.endswith(".lock")] for name in made.expected
    }
    while len(cases) < number:
        folder, kind = names[len(cases) % len(names)], KINDS[(len(cases) + len(cases) // len(names)) % len(KINDS)]
        among = [file for file in files[folder] if kind != "foreign" or file.endswith(".json")]
        cases.append(Case(folder, draw.choice(among), kind, draw.randrange(2**31)))
    return cases


def try_case(case: Case, made: Made, scratch: Path, *, repairs: bool = True) -> Outcome | None:
    """Damage a copy and see; None where the damage leaves the bytes as they are (an empty file emptied)."""
    folder = scratch / "damaged"
    expected = made.expected[case.folder]

    def fresh() -> bool:
        made.copy(case.folder, folder)
        before = contents(folder)
        _damage(folder / case.file, case, made)
        return contents(folder) != before

    if not fresh():
        return None
    code, text = run_command("verify", folder)
    unfinished = f"{(folder / case.file).parent}: not finished" in text  # as a kill leaves it
    seen = (code == 2 or unfinished) and "Traceback" not in text
    traceback = "Traceback" in text
    used, said = _use(case.folder, folder, made)
    repaired = "not tried"
    if repairs and code == 2 and case.folder != "stopped":  # whose repair is to go on
        fresh()
        code, mended = run_command("verify", folder, "--repair")
        if "Traceback" in mended:
            repaired = "traceback"
        elif code:
            repaired = "refused"
        else:
            repaired = "same" if made.use(case.folder, folder)[2] == expected else "differs"
        said += mended
    return Outcome(case, seen, "traceback" if traceback else used, repaired, text + said)


def _use(name: str, folder: Path, made: Made) -> tuple[str, str]:
    """Give the folder's own command again: the same results, a refusal, or others."""
    code, text, found = made.use(name, folder)
    if "Traceback" in text or code not in (0, 2):
        return "traceback", text
    if code:
        return "refused", text
    return ("same" if found == made.expected[name] else "differs"), text


def _damage(path: Path, case: Case, made: Made) -> None:
    draw, content = random.Random(case.seed), path.read_bytes()
    match case.kind:
        case "flip" if content:
            place = draw.randrange(len(content))
            path.write_bytes(content[:place] + bytes([content[place] ^ 1 << draw.randrange(8)]) + content[place + 1 :])
        case "truncate" if content:
            path.write_bytes(content[: draw.randrange(len(content))])
        case "delete":
            path.unlink()
        case "sibling":
            near = [
                of for of in path.parent.parent.rglob("*") if of.is_file() and of.suffix == path.suffix and of != path
            ]
            if near:
                shutil.copyfile(draw.choice(sorted(near)), path)
        case "other":
            other = made.other(case.folder) / case.file
            if other.is_file():
                shutil.copyfile(other, path)
        case "foreign":  # JSON that carries no digest, as older versions wrote it
            path.write_text(draw.choice(["{}\n", '{"a": 1}\n']))
        case "digit" if path.suffix in _TEXT:
            digits = [place for place, byte in enumerate(content) if chr(byte).isdigit()]
            if digits:
                place = draw.choice(digits)
                digit = str((int(chr(content[place])) + draw.randrange(1, 10)) % 10).encode()
                path.write_bytes(content[:place] + digit + content[place + 1 :])
        case _:
            path.write_bytes(b"")


def run(budget_s: float, seed: int, number: int = 500, say: Callable[[str], None] = lambda _: None) -> list[Row]:
    """Try `number` damages, or as many as `budget_s` seconds allow; a row for each folder and one for all."""
    begin = time.monotonic()
    outcomes: list[Outcome] = []
    with made_folders() as (made, scratch):
        for case in draw_cases(made, 2 * number, seed):
            if len(outcomes) >= number or time.monotonic() - begin > budget_s:
                break
            outcome = try_case(case, made, scratch)
            if outcome is not None:
                outcomes.append(outcome)
                if len(outcomes) % 50 == 0:
                    say(f"{len(outcomes)} tried in {time.monotonic() - begin:.0f} s")
                if outcome.wrong or outcome.repaired == "refused":
                    say(f"{outcome.case}: {outcome}")
        return [_row(f"damage: {name}", [of for of in outcomes if of.case.folder == name]) for name in NAMES] + [
            _row("damages in all", outcomes)
        ]


def _row(what: str, outcomes: Sequence[Outcome]) -> Row:
    used = [outcome.used for outcome in outcomes]
    repaired = [outcome.repaired for outcome in outcomes]
    wrong = [outcome for outcome in outcomes if outcome.wrong]
    row = {
        "what": what,
        "tried": len(outcomes),
        "seen by verify": sum(outcome.seen for outcome in outcomes),
        "refused": used.count("refused"),
        "same result": used.count("same"),
        "repaired": repaired.count("same"),
        "repair refused": repaired.count("refused"),
        "repaired otherwise": repaired.count("differs"),
        "traceback": used.count("traceback") + repaired.count("traceback"),
        "undetected": sum(outcome.undetected for outcome in outcomes),
    }
    return row | ({"note": "\n".join(f"{of.case}: {of.text[-500:]}" for of in wrong)} if wrong else {})
