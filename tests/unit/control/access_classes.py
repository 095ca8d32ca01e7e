"""What each route of the admin API is to the access matrix. Written by hand, on purpose: a second opinion.

look: see functions and what ran · call: invoke · change: deploy, delete, secrets · govern: tokens, budgets, audit ·
any: every role · open: no token. `node:` is about the whole node, so only tokens of the node may.
"""

from __future__ import annotations

import hashlib

from control_harness import Harness

from wispd.model.published import Token

MAY = {
    "look": {"viewer", "deployer", "admin"},
    "call": {"invoker", "deployer", "admin"},
    "change": {"deployer", "admin"},
    "govern": {"admin"},
    "any": {"viewer", "invoker", "deployer", "admin"},
}

_NS = "/v1/namespaces/{namespace}"
_INVOKE = f"{_NS}/functions/{{name}}/invoke"
_CALLS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

CLASSES = {
    "GET /healthz": "open",
    "GET /readyz": "open",
    "GET /v1/openapi.json": "open",
    "GET /v1/docs": "open",
    "GET /v1/status": "node:look",
    "GET /metrics": "node:look",
    # functions
    f"POST {_NS}/packages": "change",
    f"POST {_NS}/layers": "change",
    f"POST {_NS}/packages/fetch": "change",
    f"POST {_NS}/builds": "change",
    f"GET {_NS}/builds": "look",
    f"GET {_NS}/builds/{{build}}": "look",
    f"GET {_NS}/functions": "look",
    f"GET {_NS}/functions/{{name}}": "look",
    f"PUT {_NS}/functions/{{name}}": "change",
    f"DELETE {_NS}/functions/{{name}}": "change",
    **{f"{verb} {_INVOKE}": "call" for verb in _CALLS},
    **{f"{verb} {_INVOKE}/{{rest:path}}": "call" for verb in _CALLS},
    f"POST {_NS}/functions:batch": "change",
    # versions, aliases, rollouts
    **{
        f"GET {_NS}/functions/{{name}}/{what}": "look"
        for what in ("versions", "versions/{number}", "aliases", "aliases/{alias}", "history", "rollout")
    },
    f"POST {_NS}/functions/{{name}}/versions": "change",
    f"DELETE {_NS}/functions/{{name}}/versions/{{number}}": "change",
    f"PUT {_NS}/functions/{{name}}/aliases/{{alias}}": "change",
    f"DELETE {_NS}/functions/{{name}}/aliases/{{alias}}": "change",
    f"POST {_NS}/functions/{{name}}/rollback": "change",
    f"PUT {_NS}/functions/{{name}}/enabled": "change",
    f"POST {_NS}/functions/{{name}}/rollout": "change",
    f"POST {_NS}/functions/{{name}}/rollout/abort": "change",
    f"POST {_NS}/functions/{{name}}/rollout/promote": "change",
    # what ran
    "GET /v1/invocations/{invocation_id}": "look",
    f"GET {_NS}/invocations": "look",
    f"GET {_NS}/logs": "look",
    f"GET {_NS}/calls": "look",
    f"GET {_NS}/usage": "look",
    "GET /v1/audit": "node:govern",
    "GET /v1/audit/verification": "node:govern",
    f"GET {_NS}/audit": "govern",
    f"GET {_NS}/functions/{{name}}/stats": "look",
    f"GET {_NS}/functions/{{name}}/why": "look",
    "GET /v1/counters": "node:look",
    # money
    "GET /v1/usage": "node:look",
    f"GET {_NS}/budgets": "look",
    f"PUT {_NS}/budgets/{{scope}}/{{period}}": "govern",
    f"DELETE {_NS}/budgets/{{scope}}/{{period}}": "govern",
    f"GET {_NS}/quotas": "look",
    f"PATCH {_NS}/quotas": "node:govern",
    # secrets
    f"PUT {_NS}/secrets/{{name}}": "change",
    f"GET {_NS}/secrets/{{name}}": "change",
    f"GET {_NS}/secrets": "change",
    f"DELETE {_NS}/secrets/{{name}}": "change",
    "POST /v1/secrets/rotate-key": "node:govern",
    "POST /v1/backup": "node:govern",
    # tokens and namespaces
    "GET /v1/tokens": "node:govern",
    "POST /v1/tokens": "node:govern",
    "DELETE /v1/tokens/{token_id}": "node:govern",
    f"GET {_NS}/tokens": "govern",
    f"POST {_NS}/tokens": "govern",
    f"DELETE {_NS}/tokens/{{token_id}}": "govern",
    "GET /v1/namespaces": "any",
    "POST /v1/namespaces": "node:govern",
    f"GET {_NS}": "any",
    f"DELETE {_NS}": "node:govern",
}


def token_headers(node: Harness, role: str, namespace: str) -> dict[str, str]:
    """Store a token `tok_<role>` and return the headers that present it."""
    text = f"wisp_{role}_of_{namespace or 'node'}"
    digest = hashlib.sha256(text.encode()).hexdigest()
    token = Token(digest=digest, role=role, namespace=namespace, id=f"tok_{role}", name=f"the {role}")
    node.node._store.credentials.add(token, created_by="test")
    node.node._store.commit()
    return {"Authorization": f"Bearer {text}"}
