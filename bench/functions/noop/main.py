def handle(event, context):
    return "hello world"
