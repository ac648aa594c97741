"""`g2is compare --recommend`: from a finished comparison, the method to take."""

from pathlib import Path

import typer

from g2is.cli.given import flags_of
from g2is.cli.session import quiet_libraries, reporter, tell
from g2is.errors import ConfigError
from g2is.progress.terminal import console

_HEEDED = ("recommend", "out", "files", "config", "as_json", "quiet", "verbose")


def ask_for_folder_alone(context: typer.Context, wanted: bool) -> bool:
    """Let `compare` be given without what it cannot do without otherwise: only a folder is looked at."""
    if wanted and not context.resilient_parsing:
        context.default_map = {"model": "", "out": "", "test": [""], **(context.default_map or {})}
    return wanted


def show_recommended(context: typer.Context) -> None:
    """Print which method to take, by the cells in the folder that was given.

    Raises ConfigError unless one folder was given, StoreError if it holds no comparison with a finished cell.
    """
    from g2is.comparison.terminal import show_recommendations
    from g2is.jobs.recommend import recommend_from

    asked = flags_of(context)[0]
    folder = _folder(asked["out"], asked["files"], context.params.get("out"))
    passed_over = [
        of.opts[0]
        for of in context.command.params
        if of.name not in _HEEDED and asked.get(of.name) not in (None, False)
    ]
    if passed_over:
        reporter().notice(f"--recommend looks at the cells in {folder} alone: {', '.join(passed_over)} passed over")
    quiet_libraries()
    found = recommend_from(folder)
    tell(lambda: show_recommendations(found, console()), lambda: found)


def _folder(out: Path | str | None, files: list[str] | None, of_config: Path | str | None) -> Path:
    """The comparison's folder: that of --out, the one argument, or that of the file of --config.

    Older versions of typer keep paths as text until a command takes them.
    """
    if out is not None:
        return Path(out)
    if files and len(files) == 1:
        return Path(files[0])
    if of_config is not None and str(of_config) not in ("", "."):
        return Path(of_config)
    raise ConfigError(
        "g2is compare --recommend: expected the folder of one comparison, found"
        f" {'none' if not files else ', '.join(files)}; give `g2is compare --recommend OUT`"
    )
