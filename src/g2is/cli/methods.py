"""`g2is methods`: the grid of methods."""

import sys

from g2is.methods import GRADIENT, METHODS, NONE, REPRESENTATIONS, SELECTORS


def methods() -> None:
    """List the methods: what each looks at and how it chooses, in a line, with its source.

    Take one with `--method NAME`; any other pair with `--set selection.representation=… --set selection.selector=…`.
    """
    width = max(map(len, METHODS))
    lines = []
    for name, method in METHODS.items():
        representation = method.settings.get("representation", "gradient")
        cell = f"{representation} × {method.settings['selector']}"
        lines.append(f"{name:<{width}}  {cell:<23}  {method.line}")
        if method.source:
            lines.append(f"{'':<{width}}  {'':<23}  {method.source}")
    lines += [
        "",
        f"representations: {', '.join((GRADIENT, *REPRESENTATIONS, NONE))}",
        f"selectors: {', '.join(SELECTORS)}",
    ]
    sys.stdout.write("\n".join(lines) + "\n")
