"""The smallest function: it answers every trigger."""


def handle(event, context):
    """Greet whoever calls: `?name=` over HTTP, `{"name": …}` as the payload from anywhere."""
    name = "world"
    if event.http is not None:
        name = event.http.query.get("name", name)
    if isinstance(event.data, dict):
        name = event.data.get("name", name)
    context.log.info("greeting %s", name)
    return f"Hello, {name}!\n"
