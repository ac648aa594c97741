"""Why a chat template refuses a row: found by rendering the row without one thing after the other."""

from collections.abc import Callable
from dataclasses import replace

from g2is.examples.conversation import ASSISTANT, SYSTEM, TOOL, Turn
from g2is.examples.messages import TOOL_CALLS, Row

_PLAIN = "--set examples.template=plain"
_OTHER = f"--set examples.chat_template=FILE with a template that does (docs/templates.md), or {_PLAIN}"


def explain(row: Row, said: str, is_taken: Callable[[Row], bool]) -> str:
    """What an error says of a row that the template refuses with the words `said`; `is_taken` tries another row."""
    reduced = row
    suspects: list[str] = []
    for change in (_systems, _tools, _reasoning, _beginning, _runs):
        changed, message = change(row)
        if message and is_taken(changed):
            return f"{message}; the template says: {said}"
        changed, again = change(reduced)
        if message or again:
            suspects.append(message or again)
            reduced = changed
            if is_taken(reduced):
                return f"{'; and '.join(suspects)}; the template says: {said}"
    roles = ", ".join(turn.role for turn in row.turns)
    return (
        f"expected turns that the model's chat template takes, found {roles}, which it refuses: {said}; change the"
        f" turns, or use {_PLAIN}"
    )


def _systems(row: Row) -> tuple[Row, str]:
    at = [i for i, turn in enumerate(row.turns) if turn.role == SYSTEM]
    if not at:
        return row, ""
    changed = row.without(lambda turn: turn.role == SYSTEM)
    index, where = (at[0], "") if at[0] == 0 and len(at) == 1 else (at[-1], " there")
    front = "the first" if where == "" else "the next"
    return changed, (
        f"{row.name(index)}: this template takes no system turn{where}: --set examples.system=merge puts it in front of"
        f" {front} user turn"
    )


def _tools(row: Row) -> tuple[Row, str]:
    def uses(turn: Turn) -> bool:
        return turn.role == TOOL or bool(turn.extra.get(TOOL_CALLS))

    index = next((i for i, turn in enumerate(row.turns) if uses(turn)), None)
    if index is None and not row.tools:
        return row, ""
    changed = replace(row.without(lambda turn: turn.role == TOOL), tools=())
    changed = replace(
        changed, turns=tuple(replace(turn, extra={}, content=turn.content or "…") for turn in changed.turns)
    )
    if index is None:
        return changed, f"tools: this template takes no tools: use {_OTHER}"
    what = "tool result" if row.turns[index].role == TOOL else "tool call"
    return _joined(changed), f"{row.name(index)}: this template takes no such {what}: use {_OTHER}"


def _reasoning(row: Row) -> tuple[Row, str]:
    index = next((i for i, turn in enumerate(row.turns) if turn.reasoning), None)
    if index is None:
        return row, ""
    changed = replace(row, turns=tuple(replace(turn, reasoning="") for turn in row.turns))
    return changed, f"{row.name(index)}: this template does not take its reasoning: use {_OTHER}"


def _beginning(row: Row) -> tuple[Row, str]:
    others = [i for i, turn in enumerate(row.turns) if turn.role != SYSTEM]
    if not others or row.turns[others[0]].role != ASSISTANT:
        return row, ""
    begin = row.turns[others[0]]
    return row.without(lambda turn: turn is begin), (
        f"{row.name(others[0])}: this template takes no conversation that begins with the assistant: put a user turn in"
        f" front of it, leave it out, or use {_PLAIN}"
    )


def _runs(row: Row) -> tuple[Row, str]:
    """Turns of one role in a row."""
    index = next((i for i in range(1, len(row.turns)) if row.turns[i].role == row.turns[i - 1].role), None)
    if index is None:
        return row, ""
    return _joined(row), (
        f"{row.name(index)}: this template takes no two turns of the {row.turns[index].role} in a row: join it with the"
        f" turn before, or use {_PLAIN}"
    )


def _joined(row: Row) -> Row:
    turns: list[Turn] = []
    numbers: list[int] = []
    for number, turn in zip(row.numbers, row.turns, strict=True):
        if turns and turns[-1].role == turn.role:
            turns[-1] = replace(turns[-1], content=f"{turns[-1].content}\n\n{turn.content}")
        else:
            turns.append(turn)
            numbers.append(number)
    return replace(row, turns=tuple(turns), numbers=tuple(numbers))
