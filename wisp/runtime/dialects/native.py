"""The native dialect: `def handle(event, context)`, plain, async, or a generator of either kind."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from wisp.event import event_of
from wisp.runtime.context import Context, context_class
from wisp.runtime.detect import arity, is_async
from wisp.runtime.dialects import Speaker
from wisp.runtime.dialects.results import to_answer
from wisp.runtime.invocation import Invocation
from wisp.runtime.outcomes import Answer
from wisp.runtime.settings import Settings


def speak_native(target: Any, settings: Settings) -> Speaker:
    """Return the speaker of a native handler, which may leave out its last parameters."""
    context = context_class(settings)
    wanted = arity(target)
    if is_async(target):
        return Speaker(answer_async=_asynchronous(target, context, wanted))

    def answer(invocation: Invocation) -> Answer:
        return to_answer(target(event_of(invocation), context(invocation)))

    def answer_event(invocation: Invocation) -> Answer:
        return to_answer(target(event_of(invocation)))

    def answer_nothing(invocation: Invocation) -> Answer:
        return to_answer(target())

    return Speaker(answer=(answer_nothing, answer_event, answer)[wanted])


def _asynchronous(target: Any, context: type[Context], wanted: int) -> Callable[[Invocation], Awaitable[Any]]:
    async def answer(invocation: Invocation) -> Any:
        arguments = (event_of(invocation), context(invocation))[:wanted]
        result = target(*arguments)
        return result if hasattr(result, "__anext__") else await result

    return answer
