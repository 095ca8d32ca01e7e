"""A function that answers HTTP requests."""

from wisp import Response

NAME_MAX = 50


def handle(event, context):
    """Greet whoever is named in the query: /?name=you."""
    name = event.http.query.get("name", "world")
    if len(name) > NAME_MAX:
        return Response({"error": f"name has {len(name)} characters, at most {NAME_MAX} are allowed"}, 400)
    context.log.info("greeting %s", name)
    return {"hello": name}
