"""How a command that cannot be done ends: one message that begins with "error: ", exit code 2."""

import difflib
import errno
import sys
from typing import Any, NoReturn, final

import typer
from typer.core import TyperCommand

from g2is.cli.several import in_its_place
from g2is.progress.terminal import complain
from g2is.errors import ConfigError, G2isError, first_line, tells_of_memory
from g2is.store.files import NO_ROOM

_UsageError: Any = typer.BadParameter.__bases__[0]  # typer exports no name for it
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


@final
class EachFlagOnce(TyperCommand):
    """A command that refuses a flag given twice, which typer would decide in silence for the last."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the command line. Raises ConfigError if a flag that cannot be repeated is."""
        try:
            _, _, given = self.make_parser(ctx).parse_args(args=list(args))
        except _UsageError as error:
            error.ctx = ctx  # which some lack
            raise
        for parameter in given:
            if parameter.param_type_name == "option" and not parameter.multiple and given.count(parameter) > 1:
                raise ConfigError(
                    f"{ctx.command_path}: expected {parameter.opts[0]} once, found it {given.count(parameter)} times;"
                    " leave out all but one"
                )
        return super().parse_args(ctx, args)


def run_app(app: typer.Typer) -> NoReturn:
    """Run the command line and exit: what a user can mend is one message, bugs keep their traceback."""
    try:
        code = in_its_place(lambda: app(prog_name="g2is", standalone_mode=False))
    except _UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # the help is printed by now
            sys.exit(2)
        _fail(_usage(error))
    except G2isError as error:
        _fail(str(error))
    except OSError as error:
        if tells_of_memory(error):
            _fail(too_little_memory(error))
        place = error.filename or "while writing"
        if error.errno in NO_ROOM:
            _fail(
                f"{place}: expected room for what is written, found: {error.strerror}. Make room and give the same"
                " command again: it goes on from here"
            )
        if error.errno in (errno.EMFILE, errno.ENFILE):
            _fail(
                f"{place}: expected leave to open some tens of files, found: {error.strerror}. Raise the limit"
                " (`ulimit -n 1024`) and give the same command again: it goes on from here"
            )
        if error.errno in _FORBIDDEN:
            _fail(f"{place}: expected a place that may be read and written, found: {error.strerror}")
        if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
            _fail(f"{place}: expected a path that this system takes, found: {error.strerror}; name another")
        raise
    except (MemoryError, RuntimeError, ImportError) as error:
        if not tells_of_memory(error):
            raise
        _fail(too_little_memory(error))
    sys.exit(code if isinstance(code, int) else 0)


def too_little_memory(error: BaseException) -> str:
    """What is said of an `error` that tells of too little memory."""
    return (
        f"expected memory for what comes next, found too little ({first_line(error)}). Where there is more (another"
        " machine, or a higher `ulimit -v`) the same command goes on from here"
    )


def _fail(message: str) -> NoReturn:
    complain(f"error: {message}")
    sys.exit(2)


def _usage(error: Any) -> str:
    """What is wrong with the command line, where, and what is nearest to it, from typer's own error."""
    kind = type(error).__name__
    context = error.ctx
    command = context.command_path if context is not None else "g2is"
    see = f"see `{command} --help`"
    if kind == "NoSuchOption":
        given = _as_given(error.option_name)
        known = ["--help", *(name for given in context.command.params for name in given.opts if name.startswith("--"))]
        near = difflib.get_close_matches(given, known, n=1) or difflib.get_close_matches(f"-{given}", known, n=1)
        hint = f"did you mean {near[0]}? Or {see}" if near else f"the flags are {', '.join(sorted(known))}"
        return f"{command}: expected a flag that it has, found {given}; {hint}"
    if kind == "MissingParameter" and error.param is not None:
        name = error.param.opts[0] if error.param.param_type_name == "option" else error.param.name.upper()
        what = f" ({error.param.help})" if error.param.help else ""
        return f"{command}: expected {name}{what}, found none; {see}"
    if kind == "BadOptionUsage":
        wants = "requires" in error.message
        expected, found = ("a value after", "none") if wants else ("no value after", "one")
        return f"{command}: expected {expected} {error.option_name}, found {found}; {see}"
    return (
        f"{command}: expected arguments as {see.removeprefix('see ')} says, found otherwise: {error.format_message()}"
    )


def _as_given(option: str) -> str:
    """The flag that the user wrote, where typer took it for a cluster of one-letter ones: -model is no -m."""
    if option.startswith("--"):
        return option
    return next((word for word in sys.argv[1:] if word.startswith("-") and option[1:] in word[1:2]), option)
