"""A plan of costs as people read it."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from g2is.cli.show import target_titles
from g2is.cli.show_time import about
from g2is.errors import plural, with_pages
from g2is.progress.terminal import say

if TYPE_CHECKING:
    from g2is.config import Parameters
    from g2is.jobs.memory_fit import Fit
    from g2is.jobs.plan import CostPlan

_GIB = 2**30


def show_plan(plan: "CostPlan") -> None:
    """Print the page of costs."""
    say(
        [
            "This is what the run would take; nothing was written.",
            *_what(plan),
            *_work(plan),
            *_disk(plan),
            *_memory(plan),
            *(f"  note       {note}" for note in plan.notes),
        ]
    )


def _what(plan: "CostPlan") -> Iterator[str]:
    shape = plan.shape
    trained = (
        f"; {shape.coordinates:,} of them weights and biases of linear layers, which gradients are of"
        if plan.parameters == "all"
        else f"; adapter of {shape.coordinates:,} coordinates"
    )
    of = trained if shape.coordinates else ""
    yield f"  model      {shape.parameters:,} parameters in {shape.blocks} blocks, {plan.dtype}{of}"
    about_tokens = "" if plan.exact else "about "
    more = "".join(
        f", {number:,} {what}"
        for number, what in (
            (plan.pool_duplicates, "duplicates"),
            (plan.pool_truncated, "too long"),
            (plan.excluded, "left out beside them"),
        )
        if number
    )
    yield f"  pool       {plan.pool_rows:,} rows, {about_tokens}{plan.pool_tokens:,} tokens{more}"
    for title, number in zip(target_titles(plan.target_rows), plan.target_rows.values(), strict=True):
        yield f"  {title}{plural(number, 'row')}"
    yield f"  budget     {plan.budget.amount:,} {plan.budget.unit}, by {plan.method}"
    if not plan.store_exists:
        yield "  store      new"
    elif plan.nothing_left and plan.rows_stored:
        yield f"  store      holds all of it: nothing is left to be made ({plan.rows_stored:,} rows of the pool)"
    else:
        yield f"  store      exists, and holds {plan.rows_stored:,} of these rows: what is left is counted"


def _work(plan: "CostPlan") -> Iterator[str]:
    yield f"  on {plan.devices}"
    for name, step in plan.steps.items():
        done = [f"{step.rows:,} rows"]
        done += [f"{step.tokens:,} tokens gone through"] if step.tokens else []
        done += [f"{step.flops:.1e} operations"] if step.flops else []
        time = "time not told" if step.seconds is None else about(step.seconds)
        if name == "choosing" and step.seconds is not None:
            time = f"{time}, as on two cores"
        yield f"    {name:<9}  {'nothing left' if not step.rows else f'{time}: ' + ', '.join(done)}"
    total = "not told" if plan.seconds is None else about(plan.seconds)
    yield f"    in all     {total}; loading the model, its check and the report come on top"
    yield f"    times by   {plan.time_by}"


def _disk(plan: "CostPlan") -> Iterator[str]:
    if plan.disk:
        free = "" if plan.disk_free is None else f"; {_gib(plan.disk_free)} are free there"
        parts = ", ".join(f"{what} {_gib(size)}" for what, size in plan.disk.items())
        yield f"  disk       {parts}{free}"
    if plan.selecting_bytes:
        yield (
            f"  selecting  {_gib(plan.selecting_bytes)} of main memory for rows of {plan.row_length:,} numbers, or a"
            " file of that size"
        )


def _memory(plan: "CostPlan") -> Iterator[str]:
    for peak in plan.peaks:
        where = "on one device"
        if plan.fit is not None and (devices := plan.fit.devices) > 1:
            where = f"on {devices} devices, {_gib(peak.on_each_of(devices))} on the fullest,"
        yield f"  memory     {_gib(peak.num_bytes)} {where} at the peak of {peak.stage}"
        for part in peak.parts:
            yield f"    {part.name:<21}  {_gib(part.num_bytes):>11}  {part.arithmetic}"
    if plan.fit is not None:
        yield from _fits(plan.fit, plan.parameters)


def _fits(fit: "Fit", parameters: "Parameters") -> Iterator[str]:
    where = "" if fit.devices == 1 else f" on the fullest of {fit.devices} devices"
    has = f"a tenth more to be safe, of {_gib(fit.memory_bytes)}"
    yield f"  fits       {'yes' if fit.fits else 'no'}: {_gib(fit.needed_bytes)} are needed{where}, and {has}"
    if fit.fits:
        return
    if fit.settings:
        yield f"             it would with {_flags(fit.settings)}"
    else:
        on = "one device" if fit.devices == 1 else f"{fit.devices} devices"
        beside = " beside this store; with another --store other settings could" if fit.settled else ""
        yield f"             no setting of memory makes it fit on {on}{beside}"
        if parameters == "all":
            yield "             an adapter takes less: ask anew with --set gradients.parameters=lora, and without"
            yield "             gradients.second_moments and gradients.projection.kind"
    if fit.devices_a_copy > 1:
        if fit.spread_settings:
            yield f"             {fit.devices_a_copy} such devices of one machine hold a copy of the model, with"
            yield f"             {_flags(fit.spread_settings)}"
        yield with_pages("             a smaller model of the family can select, too (docs/how_to/large_model.md)")


def _flags(settings: Mapping[str, str]) -> str:
    return " ".join(f"--set {name}={value}" for name, value in settings.items())


def _gib(num_bytes: int) -> str:
    if num_bytes < _GIB // 10:
        return f"{num_bytes / 2**20:,.2f} MiB"
    return f"{num_bytes / _GIB:,.2f} GiB" if num_bytes < 10 * _GIB else f"{num_bytes / _GIB:,.1f} GiB"
