"""Both kinds of link: what goes in comes out whole and in order; on one of them the unread can be taken back."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from gateway_harness import HandLoop

from wisp.runtime import frames
from wispd.base.clock import VirtualClock
from wispd.gateway.link import SeqpacketLink, StreamLink


class Owner:
    """Remembers what a link tells."""

    def __init__(self) -> None:
        self.inflight: dict[int, object] = {1: None}
        self.packets: list[bytes] = []
        self.ends = 0
        self.drains = 0

    def packet(self, packet: bytes) -> None:
        self.packets.append(packet)

    def closed(self) -> None:
        self.ends += 1

    def drained(self) -> None:
        self.drains += 1


@pytest.fixture
def loop() -> Iterator[HandLoop]:
    loop = HandLoop(VirtualClock())
    yield loop
    loop.close()


def stream(loop: HandLoop) -> tuple[StreamLink, socket.socket, Owner]:
    ours, theirs = socket.socketpair()
    owner = Owner()
    return StreamLink(loop, ours.detach(), owner), theirs, owner  # type: ignore[arg-type]


def packets(loop: HandLoop) -> tuple[SeqpacketLink, socket.socket, Owner]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    owner = Owner()
    link = SeqpacketLink(loop, ours.detach(), theirs.dup().detach(), owner)  # type: ignore[arg-type]
    return link, theirs, owner


def test_a_stream_is_cut_into_frames_however_it_arrives(loop: HandLoop) -> None:
    link, peer, owner = stream(loop)
    sent = [frames.pack(frames.LOG, n, body=bytes([n]) * n * 40) for n in range(1, 9)]
    whole = b"".join(sent)
    for start in range(0, len(whole), 37):
        peer.send(whole[start : start + 37])
        loop.poll()
    assert owner.packets == sent
    assert link.take_back() == [], "nothing can be proved unread on a stream"
    peer.close()
    loop.poll()
    assert owner.ends == 1
    link.close()


def test_a_stream_that_announces_too_much_is_closed(loop: HandLoop) -> None:
    link, peer, owner = stream(loop)
    peer.send(frames.HEADER.pack(frames.LOG, 0, 0, 0, 1, 1 << 40))
    loop.poll()
    assert owner.ends == 1
    assert not owner.packets
    link.close()
    peer.close()


def test_a_stream_that_is_full_goes_on_where_it_stopped(loop: HandLoop) -> None:
    link, peer, owner = stream(loop)
    packet = frames.pack(frames.BODY, 1, body=b"x" * frames.BODY_MAX)
    for _ in range(40):
        link.send(packet)
    assert link.queued
    received = b""
    while len(received) < 40 * len(packet):
        loop.poll()
        received += peer.recv(1 << 20)
    assert received == packet * 40
    loop.poll()
    assert owner.drains
    link.close()
    peer.close()


def test_unread_packets_are_taken_back_in_order_with_those_still_queued(loop: HandLoop) -> None:
    link, peer, _ = packets(loop)
    sent = [frames.pack(frames.INVOKE, n, body=b"y" * 60_000) for n in range(12)]
    for packet in sent:
        link.send(packet)
    assert link.queued, "more than the socket holds"
    assert peer.recv(frames.PACKET_MAX) == sent[0]
    assert link.take_back() == sent[1:]
    assert link.queued == 0
    link.close()
    link.close()
    peer.close()


def test_pausing_leaves_packets_in_the_socket(loop: HandLoop) -> None:
    link, peer, owner = packets(loop)
    link.pause()
    peer.send(frames.pack(frames.LOG))
    loop.poll()
    link.poll()
    assert not owner.packets
    link.resume()
    loop.poll()
    assert len(owner.packets) == 1
    link.close()
    peer.close()
