"""A FastAPI application, served as it is: validation, OpenAPI and streaming work unchanged.

    wisp deploy examples/fastapi_notes
    curl -X POST http://127.0.0.1:8080/fn/notes/notes -H 'content-type: application/json' -d '{"text": "buy milk"}'

State in a module lives as long as its instance does, which is fine for an example and wrong for a shop.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import FastAPI, HTTPException
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

app = FastAPI(title="Notes")
_numbers = itertools.count(1)
_notes: dict[int, "Note"] = {}


class Note(BaseModel):
    """What a caller sends."""

    text: Annotated[str, Field(min_length=1, max_length=500)]
    tags: list[str] = []


@app.post("/notes", status_code=201)
async def add(note: Note) -> dict[str, int]:
    """Keep a note."""
    number = next(_numbers)
    _notes[number] = note
    return {"id": number}


@app.get("/notes/{number}")
async def show(number: int) -> Note:
    """Show a note."""
    if number not in _notes:
        raise HTTPException(404, f"there is no note {number}")
    return _notes[number]


@app.get("/ticks")
async def ticks(count: int = 3) -> StreamingResponse:
    """Server-sent events, one by one."""

    async def stream() -> AsyncIterator[str]:
        for number in range(min(count, 100)):
            yield f"data: {number}\n\n"
            await asyncio.sleep(0.01)

    return StreamingResponse(stream(), media_type="text/event-stream")
