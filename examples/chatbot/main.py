"""A chat bot behind a signed webhook, in the manner of Slack's slash commands.

    wisp secret set CHAT_SIGNING_SECRET        # paste the value, or pipe it in
    wisp deploy examples/chatbot

Then give the chat service the function's address. Source of the signature: Slack, "Verifying requests from Slack".
"""

import hashlib
import hmac
import os
import re
import secrets
import time
from urllib.parse import parse_qs

import wisp

AGE_MAX_S = 300  # an older request may be a recording that is played again
_DICE = re.compile(r"(\d{1,2})d(\d{1,3})", re.ASCII)


def handle(event, context):
    """Check who calls, then do what the text says."""
    body = event.http.body
    if not signed(event.http.headers, body):
        return wisp.Response({"error": "the signature is wrong or too old"}, 401)
    form = {key: values[0] for key, values in parse_qs(body.decode("utf-8", "replace")).items()}
    command, _, rest = form.get("text", "").strip().partition(" ")
    context.log.info("%s asks for %s", form.get("user_name", "somebody"), command or "help")
    return {"response_type": "in_channel", "text": answer(command.lower(), rest)}


def signed(headers, body):
    """Did the holder of the secret sign this body, just now?"""
    stamp = headers.get("x-slack-request-timestamp", "")
    if not stamp.isdigit() or abs(time.time() - int(stamp)) > AGE_MAX_S:
        return False
    secret = os.environ["CHAT_SIGNING_SECRET"].encode()
    wanted = "v0=" + hmac.new(secret, b"v0:" + stamp.encode() + b":" + body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(wanted, headers.get("x-slack-signature", ""))


def answer(command, rest):
    """Return what the bot says."""
    if command == "roll":
        dice = _DICE.fullmatch(rest.strip() or "1d6")
        if dice is None or not int(dice[1]) or not int(dice[2]):
            return "Roll what? For example `roll 2d6`."
        rolled = [1 + secrets.randbelow(int(dice[2])) for _ in range(int(dice[1]))]
        return f"{' + '.join(map(str, rolled))} = {sum(rolled)}"
    if command == "echo":
        return rest or "…"
    return "I know `roll 2d6` and `echo …`."
