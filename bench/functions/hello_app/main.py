from wisp import App

app = App("hello", docs=False)


@app.get("/hello/{name}")
def hello(name: str, times: int = 1) -> dict[str, str]:
    return {"hello": name * times}
