"""How long a command is going to take, in words."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from g2is.jobs.forecast import Forecast

_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def about(seconds: float) -> str:
    """A time as people say it, no more exact than it is known.

    >>> about(0.4), about(47), about(850), about(3.4 * 3600), about(5 * 86400)
    ('less than a second', 'about 47 seconds', 'about 14 minutes', 'about 3.4 hours', 'about 5 days')
    """
    if seconds < 1:
        return "less than a second"
    for unit, length, next_length in (("second", 1, 2 * _MINUTE), ("minute", _MINUTE, 2 * _HOUR)):
        if seconds < next_length:
            number = round(seconds / length)
            return f"about {number} {unit}{'s' * (number != 1)}"
    if seconds < 2 * _DAY:
        return f"about {seconds / _HOUR:.1f} hours"
    return f"about {seconds / _DAY:,.0f} days"


def time_lines(time: "Forecast", rest: str) -> list[str]:
    """What a dry run says of the time, and what it was measured on; `rest` is what comes on top."""
    if time.why_not:
        return [f"  time       not measured: {time.why_not}"]
    parts = ", ".join(f"{name} {about(seconds).removeprefix('about ')}" for name, seconds in time.seconds.items())
    several = f" ({parts})" if len(time.seconds) > 1 else f" for {next(iter(time.seconds), 'nothing')}"
    return [
        f"  time       {about(sum(time.seconds.values()))}{several},",
        f"             by passes of {time.measured}; {rest} come on top",
    ]
