"""A Flask app, served as it is."""

from flask import Flask, request

app = Flask(__name__)


@app.get("/")
def greet():
    return {"hello": request.args.get("name", "world")}


@app.post("/echo")
def echo():
    return request.get_json()
