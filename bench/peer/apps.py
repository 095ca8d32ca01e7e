"""The same hello world for every peer."""

from __future__ import annotations


def lambda_handler(event: dict, context: object) -> dict:
    return {"statusCode": 200, "body": "hello world"}


def framework(request: object) -> str:
    return "hello world"
