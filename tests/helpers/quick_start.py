"""`g2is` and `python` as a shell finds them, without the seconds that importing takes: each is forked (`forked.py`).

What they do is what the real ones do, in a process, folder and environment of their own; that the real ones start is
shown by `test_light_start.py` and `test_wheel.py`. Another g2is than this clone's, first in PYTHONPATH, is imported
anew, so that a copy of the source can be changed and tried.
"""

import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import forked

_CLIENT = """#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({place!r})
    socket.send_fds(server, [b"3"], [0, 1, 2])
    server.sendall(json.dumps([{name!r}, sys.argv[1:], os.getcwd(), dict(os.environ)]).encode())
    server.shutdown(socket.SHUT_WR)
    sys.exit(int(server.recv(16) or 1))
"""
_NAMES = ("g2is", "python")


@contextmanager
def tools() -> Iterator[str]:
    """The folder of a `g2is` and a `python` that are served until this ends: PATH is to begin with it."""
    with tempfile.TemporaryDirectory(prefix="g2is-") as folder, socket.socket(socket.AF_UNIX) as listener:
        place = f"{folder}/socket"  # not below a test's own folder: the path of a socket is short
        for name in _NAMES:
            tool = Path(folder, name)
            tool.write_text(_CLIENT.format(python=sys.executable, place=place, name=name))
            tool.chmod(0o755)
        listener.bind(place)
        listener.listen()
        server = threading.Thread(target=_serve, args=[listener], daemon=True)
        server.start()
        try:
            yield folder
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            server.join()


def python(
    arguments: Sequence[object], folder: Path, paths: Sequence[Path | str], given: str = ""
) -> "subprocess.CompletedProcess[str]":
    """Run `python ARGUMENTS` to its end, in `folder`, with these `paths` before all others and `given` to read."""
    with tools() as begins_with:
        return subprocess.run(
            [f"{begins_with}/python", *map(str, arguments)],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths))},
            input=given, capture_output=True, text=True, check=False,
        )  # fmt: skip


def _serve(listener: socket.socket) -> None:
    while True:
        try:
            asked, _ = listener.accept()
        except OSError:  # the last one has been served
            return
        threading.Thread(target=_answer, args=[asked], daemon=True).start()  # commands of a pipe run side by side


def _answer(asked: socket.socket) -> None:
    with asked:
        code = forked.ended(forked.start(_run, asked))
        asked.sendall(str(code if code >= 0 else 128 - code).encode())  # as a shell says that a signal ended it


def _run(asked: socket.socket) -> NoReturn:
    with asked:
        _, files, _, _ = socket.recv_fds(asked, 1, 3)
        with asked.makefile("rb") as text:
            name, arguments, folder, environment = json.load(text)
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115  # which multiprocessing has put in its place
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    paths = [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path]
    if not any(Path(module).is_relative_to(paths[0]) for module in importlib.import_module("g2is").__path__):
        for module in [module for module in sys.modules if module.partition(".")[0] == "g2is"]:
            del sys.modules[module]
    sys.path[:] = [*paths, *(path for path in sys.path if path not in paths)]
    sys.argv = [name, *arguments]
    if name == "g2is":
        importlib.import_module("g2is.__main__").main()
    else:
        _python(arguments)
    sys.exit(0)


def _python(arguments: list[str]) -> None:
    match arguments:
        case ["-m", module, *rest]:
            sys.path.insert(0, "")
            sys.argv = [module, *rest]
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        case ["-c", program, *rest]:
            sys.path.insert(0, "")
            sys.argv = ["-c", *rest]
            exec(compile(program, "<string>", "exec"), {"__name__": "__main__"})
        case ["-"]:
            sys.path.insert(0, "")
            exec(compile(sys.stdin.read(), "<stdin>", "exec"), {"__name__": "__main__"})
        case [file, *_] if not file.startswith("-"):
            sys.argv = arguments
            sys.path.insert(0, str(Path(file).parent.absolute()))
            runpy.run_path(file, run_name="__main__")
        case _:
            raise AssertionError(f"no page gives python {arguments}")
