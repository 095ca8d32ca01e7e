"""Start a node, deploy examples/hello, call it, say where it is, and stay until Ctrl-C.

    make run [ARGS="--data DIR --port 8080 --admin-port 8081"]

The node runs in the foreground below this process; its exit status is ours.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
READY_WITHIN_S = 60.0
WISP = [sys.executable, "-m", "wispd.cli.main"]


def main() -> int:
    """Do it all; return the node's exit status, or 1 when the example could not be served."""
    options = arguments()
    folder = ["--data", options.data] if options.data else []
    ports = ["--port", str(options.port), "--admin-port", str(options.admin_port)]
    node = subprocess.Popen([*WISP, "up", *folder, *ports], cwd=ROOT)
    # Both get Ctrl-C from the terminal: the node drains, we wait for it. A plain kill is passed on.
    signal.signal(signal.SIGINT, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda *_: node.terminate())
    try:
        if not ready(node, options.admin_port) or not serve_example(folder, options.port):
            node.terminate()
            return node.wait() or 1
        return node.wait()
    finally:
        if node.poll() is None:
            node.terminate()
            node.wait()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Run a node with the example on it.")
    parser.add_argument("--data", default="", help="the data directory (the node's default)")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--admin-port", type=int, default=8081)
    return parser.parse_args()


def ready(node: subprocess.Popen[bytes], admin_port: int) -> bool:
    """Wait until the node says it is ready; False when it ended instead (it has said why)."""
    end = time.monotonic() + READY_WITHIN_S
    while node.poll() is None and time.monotonic() < end:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{admin_port}/readyz", timeout=2) as answer:
                if answer.status == 200:
                    return True
        except OSError:
            time.sleep(0.1)
    return False


def serve_example(folder: list[str], port: int) -> bool:
    """Deploy the example and call it once over HTTP; print where it is."""
    deployed = subprocess.run([*WISP, "deploy", *folder, str(ROOT / "examples/hello")], check=False, cwd=ROOT)
    if deployed.returncode:
        return False
    url = f"http://127.0.0.1:{port}/fn/hello"
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            text = answer.read().decode(errors="replace")
    except OSError as failed:  # refused, answered with an error, or cut off
        print(f"run: {url} failed: {failed}", file=sys.stderr)
        return False
    print(f"\n  {url}  answers  {text.strip()}\n\n  curl {url}\n\n  Ctrl-C ends the node.\n", flush=True)
    return True


if __name__ == "__main__":
    sys.exit(main())
