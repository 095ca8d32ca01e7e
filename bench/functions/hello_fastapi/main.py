from __future__ import annotations

from fastapi import FastAPI, WebSocket

app = FastAPI()


@app.get("/")
async def hello() -> dict[str, str]:
    return {"message": "hello world"}


@app.websocket("/echo")
async def echo(socket: WebSocket) -> None:
    await socket.accept()
    async for text in socket.iter_text():
        await socket.send_text(text)
