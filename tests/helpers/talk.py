"""Conversations written as (role, content) pairs, and back."""

from g2is.examples.conversation import Conversation, Turn


def talk(*pairs: tuple[str, str]) -> Conversation:
    """The conversation of these turns, all of the assistant's learned."""
    return Conversation(tuple(Turn(role, content) for role, content in pairs))


def pairs(conversation: Conversation) -> tuple[tuple[str, str], ...]:
    """The turns of `conversation` as (role, content), for those that have nothing else."""
    assert conversation == talk(*((turn.role, turn.content) for turn in conversation.turns))
    return tuple((turn.role, turn.content) for turn in conversation.turns)
