"""Secrets in the gateway: told in INIT, masked in what is printed, and renewed when they change."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from gateway_harness import Core, version

from wisp.runtime import frames
from wispd.base.errors import Fault
from wispd.gateway.masking import NEEDLES_MAX, masker, needles
from wispd.gateway.renewal import renew
from wispd.gateway.router import RouteTable
from wispd.gateway.secrets import Secrets
from wispd.model.secret import SealedSecret, SecretUse


class PlainOpener:
    """Opens what was never sealed."""

    def __init__(self) -> None:
        self.keys = {"k"}
        self.loads = 0

    def open(self, secret: SealedSecret) -> bytes:
        if secret.sealed == b"broken":
            raise Fault("unavailable", f"secret {secret.name} can't be opened")
        return secret.sealed

    def load(self) -> None:
        self.loads += 1

    def knows(self, key_id: str) -> bool:
        return key_id in self.keys


@pytest.fixture
def core() -> Iterator[Core]:
    core = Core()
    core.table = RouteTable()  # type: ignore[attr-defined]
    core.dispatcher.secrets = Secrets(core.table, PlainOpener())  # type: ignore[attr-defined]
    yield core
    core.close()


def sealed(name: str, value: bytes, number: int, *, namespace: str = "default", key_id: str = "k") -> SealedSecret:
    return SealedSecret(
        namespace=namespace,
        name=name,
        version=number,
        key_id=key_id,
        wrapped=b"",
        sealed=value,
        created_us=0,
        updated_us=0,
    )


def publish(core: Core, name: str, value: bytes, number: int = 1, *, namespace: str = "default") -> None:
    secret = sealed(name, value, number, namespace=namespace)
    core.table.apply(secret, b"")  # type: ignore[attr-defined]
    assert core.dispatcher.secrets is not None
    core.dispatcher.secrets.published()
    for pool in core.dispatcher:
        renew(pool, core.dispatcher.secrets.stamp(pool.version))
    core.loop.poll()


WANTED = version(secrets=(SecretUse(name="PASSWORD"),))


def test_an_instance_is_told_its_values_in_init_and_the_engine_nothing(core: Core) -> None:
    publish(core, "PASSWORD", b"hunter2hunter2")
    publish(core, "CERT", b"\xff\x00binary")
    publish(core, "OTHER", b"nobody asked for this")
    asking = version(secrets=(SecretUse(name="PASSWORD"), SecretUse(name="CERT", file="tls.key")))
    core.call(asking)
    assert b"hunter2" not in repr(core.engine.asked).encode()
    player = core.engine.grant()
    hello, init = player.read(), player.read()
    assert hello is not None
    assert init is not None
    assert b"hunter2" not in init.head
    told = json.loads(init.body)
    assert told == {"env": {"PASSWORD": "hunter2hunter2"}, "files": {"tls.key": "/wBiaW5hcnk="}}


def test_without_secrets_init_has_no_body(core: Core) -> None:
    core.call(version())
    player = core.engine.grant()
    player.read()
    init = player.read()
    assert init is not None
    assert init.body == b""


def test_a_secret_that_is_not_set_fails_calls_at_once_without_a_sandbox(core: Core) -> None:
    publish(core, "PASSWORD", b"of another namespace", namespace="other")
    _, ear = core.call(WANTED)
    assert ear.code == "init_failed"
    assert "PASSWORD is not set" in ear.faults[0].message
    assert not core.engine.asked
    publish(core, "PASSWORD", b"now it is there")
    assert core.warm(WANTED)


def test_a_secret_that_does_not_open_ends_the_instance_and_names_it(core: Core) -> None:
    publish(core, "PASSWORD", b"broken")
    _, ear = core.call(WANTED)
    player = core.engine.grant()
    assert ear.code == "unavailable"
    assert core.engine.stopped == [player.number]
    core.engine.bury(player.number)


def test_a_trial_is_told_too(core: Core) -> None:
    told: list[object] = []
    core.dispatcher.trial(WANTED, lambda dialect, fault: told.append(fault))
    core.loop.poll()
    assert "PASSWORD is not set" in str(told[0])


@pytest.mark.parametrize(
    ("use", "value"),
    [
        (SecretUse(name="PASSWORD"), b"\xff not text"),
        (SecretUse(name="PASSWORD"), b"a\0b"),
        (SecretUse(name="PASSWORD", file="f"), bytes(60_000)),
    ],
)
def test_what_can_not_be_delivered_is_said(core: Core, use: SecretUse, value: bytes) -> None:
    publish(core, "PASSWORD", value)
    _, ear = core.call(version(secrets=(use,)))
    core.engine.grant()
    assert ear.code == "init_failed"


def test_idle_instances_end_when_a_secret_changes_and_new_ones_get_the_new_value(core: Core) -> None:
    publish(core, "PASSWORD", b"first value")
    player = core.warm(WANTED)
    publish(core, "UNRELATED", b"whatever it is")
    assert not core.engine.stopped
    publish(core, "PASSWORD", b"second value", 2)
    assert core.engine.stopped == [player.number]
    core.engine.bury(player.number)
    _, ear = core.call(WANTED)
    fresh = core.engine.grant()
    fresh.read()
    init = fresh.read()
    assert init is not None
    assert b"second value" in init.body
    assert not ear.faults


def test_a_running_call_finishes_and_what_waits_behind_it_goes_to_a_new_instance(core: Core) -> None:
    publish(core, "PASSWORD", b"first value")
    player = core.warm(WANTED, run_s=0.0001)
    _, running = core.call(WANTED)
    head = player.read_invoke()
    assert head is not None
    behind, waiting = core.call(WANTED)  # queued ahead: the function is quick
    publish(core, "PASSWORD", b"second value", 2)
    assert player.number not in core.engine.stopped
    fresh = core.engine.grant()
    fresh.ready()
    core.loop.poll()
    frame = fresh.read_invoke()
    assert frame is not None
    assert frame.call == behind.number
    player.answer(head.call)
    fresh.answer(frame.call)
    core.loop.poll()
    assert running.heads
    assert waiting.heads
    assert core.engine.stopped == [player.number]


def test_a_multiplexed_instance_takes_nothing_new_and_ends_when_it_is_empty(core: Core) -> None:
    several = version(secrets=(SecretUse(name="PASSWORD"),), concurrency=10)
    publish(core, "PASSWORD", b"first value")
    player = core.warm(several)
    _, running = core.call(several)
    frame = player.read_invoke()
    assert frame is not None
    publish(core, "PASSWORD", b"second value", 2)
    core.call(several)
    assert player.read_invoke() is None
    assert len(core.engine.asked) == 1
    player.answer(frame.call)
    core.loop.poll()
    assert running.heads
    assert core.engine.stopped == [player.number]


def test_a_changed_key_alone_replaces_nobody(core: Core) -> None:
    publish(core, "PASSWORD", b"first value")
    core.warm(WANTED)
    publish(core, "PASSWORD", b"first value", 1)  # re-wrapped: the same version
    assert not core.engine.stopped


def test_values_in_logs_traces_and_errors_are_masked(core: Core) -> None:
    publish(core, "PASSWORD", b"hunter2hunter2")
    player = core.warm(WANTED)
    invocation, ear = core.call(WANTED)
    frame = player.read_invoke()
    assert frame is not None
    player.send(frames.pack(frames.LOG, frame.call, body=b"early hunter2hunter2"))
    block, log = b"ValueError: hunter2hunter2", b"log hunter2hunter2 line\n"
    head = frames.OUTCOME_HEAD.pack(0, 0, len(block), len(log), 0) + block + log
    trace = b"Traceback hunter2hunter2"
    player.send(frames.pack(frames.OUTCOME, frame.call, flags=frames.ERROR, meta=500, head=head, body=trace))
    core.loop.poll()
    assert core.observer.logs[-1] == b"early ***"
    assert invocation.log == b"log *** line\n"
    assert invocation.trace == b"Traceback ***"
    assert ear.faults[0].message == "ValueError: ***"


def test_negative_control_without_a_declared_secret_nothing_is_masked(core: Core) -> None:
    publish(core, "PASSWORD", b"hunter2hunter2")
    player = core.warm(version())
    core.call(version())
    frame = player.read_invoke()
    assert frame is not None
    player.send(frames.pack(frames.LOG, frame.call, body=b"early hunter2hunter2"))
    core.loop.poll()
    assert core.observer.logs[-1] == b"early hunter2hunter2"


def test_short_values_are_not_masked_and_lines_of_long_ones_are() -> None:
    assert masker([b"short"])(b"a short text") == b"a short text"
    mask = masker([b"-----BEGIN KEY-----\nMIIEvQIBADAN\n"])
    assert mask(b"  MIIEvQIBADAN!") == b"  ***!"
    assert masker([b"longer than", b"longer than that"])(b"longer than that") == b"***"


def test_what_is_looked_for_is_bounded() -> None:
    assert len(needles([b"\n".join(b"line number %d" % number for number in range(1000))])) == NEEDLES_MAX


def test_a_key_that_is_not_in_memory_is_read_again() -> None:
    table, opener = RouteTable(), PlainOpener()
    secrets = Secrets(table, opener)
    table.apply(sealed("A", b"x", 1, key_id="new"), b"")
    secrets.published()
    assert opener.loads == 1
    opener.keys.add("new")
    secrets.published()
    assert opener.loads == 1
