"""Code that comes with a model: which files of its folder are run when the user says that it may be."""

from pathlib import Path

from transformers.dynamic_module_utils import get_relative_import_files

from g2is.errors import ModelError
from g2is.model.settings_file import CONFIG, TOKENIZER_CONFIG, foreign_code, read_settings

_GENERATE = "custom_generate/generate.py"  # which transformers runs on loading, whatever the settings name


def code_files(folder: Path) -> list[Path]:
    """The modules that the folder's settings name, and those of it that they import, as transformers finds them.

    What such code opens by itself is not among them. Raises ModelError for a module that is not there, and for code of
    another hub model, which may change under it.
    """
    found: set[Path] = set()
    for settings in (folder / CONFIG, folder / TOKENIZER_CONFIG):
        if not settings.is_file():
            continue
        for module in foreign_code(read_settings(settings), settings):
            found |= _with_imports(folder / f"{module}.py", settings)
    if (folder / _GENERATE).is_file():
        found |= _with_imports(folder / _GENERATE, folder / _GENERATE)
    return sorted(found)


def _with_imports(module: Path, named_in: Path) -> set[Path]:
    if not module.is_file():
        raise ModelError(
            f"{named_in}: expected the code that it names beside it, found no {module.name}; copy or download the"
            " model again, its *.py files too"
        )
    try:
        imported = [Path(file) for file in get_relative_import_files(module)]
    except (OSError, ValueError) as error:  # one that is imported is not there, or no text
        raise ModelError(f"{module}: expected code whose imports can be read, but: {error}") from None
    return {module, *imported}
