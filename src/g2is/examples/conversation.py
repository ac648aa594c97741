"""A row as the model is to see it: turns, what of them is learned, and the tools that may be called."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SYSTEM, USER, ASSISTANT, TOOL = ROLES = ("system", "user", "assistant", "tool")


@dataclass(frozen=True)
class Turn:
    """One turn of a conversation.

    `role` is one of ROLES. An assistant's turn is learned unless it is `context_only`; no other ever is. `prefill` is
    the beginning of `content` that the assistant was given: it is context, and what follows it is learned. `reasoning`
    is what the assistant thought before `content`, where the row keeps the two apart. `extra` is what else a chat
    template may read of the turn, by the names that templates know: tool_calls of an assistant, name and tool_call_id
    of a tool.
    """

    role: str
    content: str
    context_only: bool = False
    prefill: str = ""
    reasoning: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_learned(self) -> bool:
        """Whether this is an answer that a model is to learn."""
        return self.role == ASSISTANT and not self.context_only


@dataclass(frozen=True)
class Conversation:
    """The turns of a row, at least one of them learned, and the JSON schemas of the tools that a template may list."""

    turns: tuple[Turn, ...]
    tools: tuple[Mapping[str, Any], ...] = ()
