"""The native dialect: `def handle(event, context)`, plain, async, or a generator of either kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wisp.event import event_of
from wisp.runtime.context import context_class
from wisp.runtime.detect import arity, is_async
from wisp.runtime.dialects import Speaker
from wisp.runtime.dialects.results import to_answer
from wisp.runtime.invocation import Invocation
from wisp.runtime.outcomes import Answer
from wisp.runtime.settings import Settings


def speak_native(target: Any, settings: Settings) -> Speaker:
    """Return the speaker of a native handler, which may leave out its last parameters."""
    call = _with_arguments(target, settings)
    if is_async(target):

        async def answer_async(invocation: Invocation) -> Any:
            result = call(invocation)
            return result if hasattr(result, "__anext__") else await result

        return Speaker(answer_async=answer_async)

    def answer(invocation: Invocation) -> Answer:
        return to_answer(call(invocation))

    return Speaker(answer=answer)


def _with_arguments(target: Any, settings: Settings) -> Callable[[Invocation], Any]:
    context = context_class(settings)
    wanted = arity(target)
    if wanted == 2:
        return lambda invocation: target(event_of(invocation), context(invocation))
    if wanted == 1:
        return lambda invocation: target(event_of(invocation))
    return lambda invocation: target()
