"""How a command that cannot be done ends: one message that begins with "error: ", exit code 2."""

import errno
import sys
from typing import Any, NoReturn, final

import typer
from typer.core import TyperCommand, TyperGroup

from g2is.cli.several import in_its_place
from g2is.cli.usage import no_such_command, usage
from g2is.errors import ConfigError, G2isError, first_line, tells_of_memory
from g2is.progress.terminal import complain
from g2is.store.files import NO_ROOM

Refused: Any  # what typer raises of a command line that it cannot read
try:
    from typer import TyperException as Refused
except ImportError:  # before it brought a click of its own
    from click import ClickException as Refused

_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


@final
class EachFlagOnce(TyperCommand):
    """A command that refuses a flag given twice, which typer would decide in silence for the last."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the command line. Raises ConfigError if a flag that cannot be repeated is."""
        if ctx.resilient_parsing:  # for completion: half a command line
            return super().parse_args(ctx, args)
        try:
            _, _, given = self.make_parser(ctx).parse_args(args=list(args))
        except Refused as error:
            error.ctx = ctx  # which some lack
            raise
        for parameter in given:
            if parameter.param_type_name == "option" and not parameter.multiple and given.count(parameter) > 1:
                raise ConfigError(
                    f"{ctx.command_path}: expected {parameter.opts[0]} once, found it {given.count(parameter)} times;"
                    " leave out all but one"
                )
        return super().parse_args(ctx, args)


@final
class Commands(TyperGroup):
    """A group of commands that says which one is likely to be meant by a name that is none."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that `args` begin with. Raises ConfigError if there is none of that name."""
        if (
            args
            and not ctx.resilient_parsing
            and not args[0].startswith("-")
            and self.get_command(ctx, args[0]) is None
        ):
            raise ConfigError(no_such_command(args[0], self.list_commands(ctx), ctx.command_path))
        return super().resolve_command(ctx, args)


def run_app(app: typer.Typer) -> NoReturn:
    """Run the command line and exit: what a user can mend is one message, bugs keep their traceback."""
    try:
        code = in_its_place(lambda: app(prog_name="g2is", standalone_mode=False))
    except Refused as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # the help is printed by now
            sys.exit(2)
        _fail(usage(error))
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
