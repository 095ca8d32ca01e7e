"""The smallest function: it answers every trigger."""


def handle(event, context):
    """Greet whoever calls: `?name=` over HTTP, the name in the payload from elsewhere."""
    name = "world"
    if event.http is not None:
        name = event.http.query.get("name", name)
    elif isinstance(event.data, dict):
        name = event.data.get("name", name)
    context.log.info("greeting %s", name)
    return f"Hello, {name}!\n"
