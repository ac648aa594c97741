"""A process that renders: `python -m g2is.examples.render_process`, whose input and output are pickles of its parent's.

First comes the renderer, and its fingerprint goes back, by which the parent knows that it is the same here. Then come
batches of examples; of each the list of what they are rendered to goes back, or what was raised. At the end of the
input it ends, so none outlives its parent.
"""

import pickle
import signal
import sys
import traceback
from contextlib import redirect_stdout


def main() -> None:
    """Render until there is no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent says what becomes of its batches
    given, answers = sys.stdin.buffer, sys.stdout.buffer
    with redirect_stdout(sys.stderr):  # what a library prints is no answer
        renderer = pickle.load(given)
        _answer(answers, renderer.fingerprint)
        while True:
            try:
                examples = pickle.load(given)
            except EOFError:
                return
            try:
                found = renderer.render_many(examples)
            except Exception as error:
                error.add_note(f"in a process that renders:\n{traceback.format_exc()}")
                found = error
            _answer(answers, found)


def _answer(to: object, value: object) -> None:
    pickle.dump(value, to, pickle.HIGHEST_PROTOCOL)  # type: ignore[arg-type]
    to.flush()  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
