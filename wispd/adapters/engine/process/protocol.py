"""Messages between the gateway (or a test) and the launcher: fixed structs over SEQPACKET, descriptors by SCM_RIGHTS.

The launcher is privileged, so its input is hostile: digests, numbers and enums only, every message of one exact
size, nothing parsed beyond `struct`. A message that does not fit closes the connection.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

# gateway → launcher
START: Final = 1
STOP: Final = 2
SAMPLE: Final = 3
KEEP: Final = 4
# launcher → gateway
STARTED: Final = 65
REFUSED: Final = 66
EXITED: Final = 67
SAMPLED: Final = 68
WELCOME: Final = 69  # the first message on a connection

NETWORKS: Final = ("egress", "none", "private")

# type, network, runtime index, allow count, ticket, memory, scratch, cpu in thousandths, pids, namespace digest, code
# digest, layer digest (zeros: none). The namespace digest is SHA-256 of its name. Allow entries (ALLOW) follow.
START_MESSAGE: Final = Struct("<BBBBQQQII32s32s32s")
ALLOW: Final = Struct("<16sBBH")  # IPv6 or IPv4-mapped address, prefix length in 128 bits, protocol 0, port (0: any)
ALLOW_MAX: Final = 32
STOP_MESSAGE: Final = Struct("<BQ")  # type, instance
SAMPLE_MESSAGE: Final = Struct("<B")
KEEP_MESSAGE: Final = Struct("<BBBH32s32s")  # type, network, runtime, members, namespace digest, layer digest

# type, pooled, ticket, instance, nanoseconds spent. Descriptors: link, steal, log, schedstat (which may be absent).
STARTED_MESSAGE: Final = Struct("<BBQQQ")
REFUSED_MESSAGE: Final = Struct("<BBQ")  # type, reason, ticket; then UTF-8 text of at most 512 bytes
EXITED_MESSAGE: Final = Struct("<BBiQQQ")  # type, cause, status, instance, cpu ns, peak bytes
SAMPLED_MESSAGE: Final = Struct("<BH")  # type, count; then SAMPLE_ENTRY per instance, 1,000 at most per message
SAMPLE_ENTRY: Final = Struct("<QQ")  # instance, bytes

WELCOME_MESSAGE: Final = Struct("<BB")  # type, level

LEVELS: Final = ("process", "namespaces", "full")
REASONS: Final = ("", "code_missing", "layer_failed", "no_capacity", "sandbox_failed", "runtime_missing", "corrupt")
MESSAGE_MAX: Final = 16_384
CODE_PATH: Final = "/app"  # where a sandbox sees the code; at process level it is the host path
DAMAGED: Final = ".damaged"  # what control appends to a tree whose content is no longer what its digest says
LAYER_PATH: Final = "/layer"
