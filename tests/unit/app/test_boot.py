"""Boot documents and descriptors travel together; the end of either side is seen."""

from __future__ import annotations

import os
import socket

import pytest

from wispd.app.boot import BootLink, Message, Peer
from wispd.app.settings import Settings


def pair() -> tuple[Peer, int]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return Peer(ours.detach()), theirs.detach()


def test_a_role_gets_settings_names_and_descriptors() -> None:
    supervisor, fd = pair()
    reader, writer = os.pipe()
    boot = Message(type="boot", role="gateway", node_id="ab", settings=Settings(data_dir="/d", port=1))
    supervisor.send(boot, {"public": writer})
    os.close(writer)
    link = BootLink(fd)
    assert (link.role, link.node_id, link.settings.port) == ("gateway", "ab", 1)
    assert not os.get_inheritable(link.descriptors["public"])
    os.write(link.descriptors["public"], b"x")
    assert os.read(reader, 1) == b"x"
    supervisor.send(Message(type="drain", deadline_s=3))
    received = link.receive()
    assert received is not None
    assert received[0].deadline_s == 3
    link.ready()
    answered = supervisor.receive()
    assert answered is not None
    assert answered[0].type == "ready"
    os.close(reader)
    os.close(link.descriptors["public"])
    supervisor.close()
    assert link.receive() is None
    link.ready()  # nobody listens: no error
    link.close()


def test_a_role_without_its_supervisor_does_not_start() -> None:
    supervisor, fd = pair()
    supervisor.close()
    with pytest.raises(SystemExit, match="gone"):
        BootLink(fd)
