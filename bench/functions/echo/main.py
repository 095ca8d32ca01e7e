def handle(event, context):
    return event.http.body
