"""The data directory: who owns it, that one node has it, and what names the node."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import secrets
import stat
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from wispd.app.listeners import UNIX_PATH_MAX
from wispd.base.errors import Fault

FORMAT: Final = 1
TOKEN_PREFIX: Final = "wisp_"  # noqa: S105  (so that a leaked token is recognised as one)
FOLDERS: Final = ("code", "layers", "published", "records", "run", "logs", "tmp")
FREE_MIN_BYTES: Final = 64 * 1024 * 1024  # record segments are preallocated
LOG_MAX_BYTES: Final = 8 * 1024 * 1024
_LONGEST_SOCKET: Final = "/run/recorder.sock"


class Node(Struct, frozen=True, kw_only=True):
    """`node.json`: what stays the same over restarts."""

    format: int
    node_id: str  # 32 hex digits
    created_us: int
    uid_first: int = 0  # of the leased range; 0: not started by root
    epoch: int = 0  # counts starts
    started_us: int = 0  # of the latest start


class DataDirectory:
    """The locked data directory of this node. The lock goes with the process.

    Its owner may be less trusted than this process (root): everything is reached from held descriptors, and no
    symbolic link is followed.
    """

    def __init__(self, path: str, *, owner_uid: int) -> None:
        """Raises: `Fault` `conflict` (another node has it), `forbidden`, `storage_full`, `invalid_argument`."""
        self.path = Path(path)
        self.owner_uid = owner_uid
        longest = os.fsencode(path + _LONGEST_SOCKET)
        if len(longest) > UNIX_PATH_MAX:
            limit = UNIX_PATH_MAX - len(_LONGEST_SOCKET)
            raise Fault("invalid_argument", f"the data directory's path has {len(path)} bytes, limit {limit}: {path}")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._fds = {"": self._opened(path)}
            self._lock = self._locked()
            self._check_space()
            self._fds |= {name: self._opened(name, dir_fd=self._fds[""]) for name in FOLDERS}
        except OSError as error:
            raise explained(error, self.path) from error

    def node(self, made: Node, *, uid_first: int) -> Node:
        """Return the node's identity: `made` on the first start; its epoch is counted up on each."""
        known = read_node(self.path) or made
        node = msgspec.structs.replace(
            known, epoch=known.epoch + 1, uid_first=uid_first or known.uid_first, started_us=made.created_us
        )
        self.write("node.json", msgspec.json.encode(node))
        return node

    def was_killed(self) -> bool:
        """Did the last node on this directory end without saying so?"""
        try:
            state = msgspec.json.decode((self.path / "run" / "status.json").read_bytes())
        except (OSError, msgspec.DecodeError):
            return False
        return not isinstance(state, dict) or state.get("state") != "ended"

    def first_token(self) -> str:
        """Make the admin token at the first start and return it, this once; later "".

        `cli-token` is the command line's copy and stays with whoever runs this; control takes the digest in.
        """
        if os.path.lexists(self.path / "cli-token"):
            return ""
        token = TOKEN_PREFIX + secrets.token_urlsafe(32)
        digest = hashlib.sha256(token.encode()).hexdigest()
        self.write("tokens.json", msgspec.json.encode({"digest": digest, "role": "admin"}))
        self.write("cli-token", token.encode() + b"\n", private=True)
        return token

    def write(self, name: str, content: bytes, *, durable: bool = True, private: bool = False) -> None:
        """Replace a file whole: readers see the old or the new one. Raises: `Fault` as the constructor."""
        folder, _, file_name = name.rpartition("/")
        directory = self._fds[folder]
        temporary = file_name + ".new"
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=directory)
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=directory)
            try:
                if os.write(fd, content) != len(content):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                if not private:
                    self.adopt(fd)
                if durable:
                    os.fsync(fd)
            finally:
                os.close(fd)
            os.rename(temporary, file_name, src_dir_fd=directory, dst_dir_fd=directory)
            if durable:
                os.fsync(directory)
        except OSError as error:
            raise explained(error, self.path / name) from error

    def open_log(self, name: str) -> int:
        """Open `logs/<name>.log` for appending; one that has grown long is put aside first."""
        directory = self._fds["logs"]
        with contextlib.suppress(FileNotFoundError):
            if os.stat(f"{name}.log", dir_fd=directory, follow_symlinks=False).st_size > LOG_MAX_BYTES:
                os.rename(f"{name}.log", f"{name}.old.log", src_dir_fd=directory, dst_dir_fd=directory)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(f"{name}.log", flags, 0o600, dir_fd=directory)
        self.adopt(fd)
        return fd

    def adopt(self, fd: int) -> None:
        """Give a file that this process made to the services."""
        if os.geteuid() == 0:
            os.fchown(fd, self.owner_uid, self.owner_uid)

    def adopt_placed(self, name: str) -> None:
        """Give a file that root put into the directory by hand, such as a key, to the services."""
        if os.geteuid() != 0:
            return
        try:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            fd = os.open(name, flags, dir_fd=self._fds[""])
        except OSError:
            return  # not there, or a link: its reader says what is wrong with it
        try:
            status = os.fstat(fd)
            # The services own the directory: they must not get at root's other files by linking one to this name.
            if stat.S_ISREG(status.st_mode) and status.st_uid == 0 and status.st_nlink == 1:
                self.adopt(fd)
        finally:
            os.close(fd)

    def _opened(self, name: str, dir_fd: int | None = None) -> int:
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=dir_fd)
        # The last part of --data itself may be a link that its user made; nothing below it.
        follow = os.O_NOFOLLOW if dir_fd is not None else 0
        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | follow, dir_fd=dir_fd)
        status = os.fstat(fd)
        if status.st_uid == os.geteuid() == 0:
            self.adopt(fd)
        elif status.st_uid != self.owner_uid:
            text = f"{name} belongs to uid {status.st_uid}, this node runs as uid {self.owner_uid}"
            raise Fault("forbidden", f"{text}; start it as its owner, or choose another one with --data")
        if status.st_mode & 0o077:
            os.fchmod(fd, 0o700)
        return fd

    def _check_space(self) -> None:
        space = os.fstatvfs(self._fds[""])
        free = space.f_bavail * space.f_frsize
        if free < FREE_MIN_BYTES:
            text = f"{free >> 20} MB are free for {self.path}, {FREE_MIN_BYTES >> 20} MB are needed"
            raise Fault("storage_full", f"the disk is full: {text}; free some, or choose another one with --data")

    def _locked(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open("lock", flags, 0o600, dir_fd=self._fds[""])
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(fd)
            holder = holder_of(self.path)
            text = f"a node (pid {holder}) already runs on {self.path}; stop it with `wisp down --data {self.path}`"
            raise Fault("conflict", text, pid=holder) from error
        self.adopt(fd)
        os.ftruncate(fd, 0)
        os.write(fd, str(os.getpid()).encode())
        return fd


def read_node(path: Path) -> Node | None:
    """Return what `node.json` says; None before the first start. Raises: `Fault("invalid_argument")`."""
    file = path / "node.json"
    try:
        node = msgspec.json.decode(file.read_bytes(), type=Node)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise explained(error, file) from error
    except msgspec.DecodeError as error:
        raise Fault("invalid_argument", f"{file} can't be read: {error}") from error
    if node.format != FORMAT:
        text = f"{file} has format {node.format}, this version of Wisp knows {FORMAT}; use the one that wrote it"
        raise Fault("invalid_argument", text)
    return node


def holder_of(path: Path) -> int:
    """Return the pid of the supervisor that has the directory; 0: nobody."""
    try:
        fd = os.open(path / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return 0
    except BlockingIOError:
        text = os.read(fd, 32).decode("ascii", "replace")
        return int(text) if text.isdigit() else -1
    finally:
        os.close(fd)


def explained(error: OSError, path: Path) -> Fault:
    """Return what an error of the file system means for the person who started the node."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Fault("storage_full", f"the disk is full: {error.filename or path} can't be written")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        text = f"the data directory {path} can't be written ({error.strerror}); choose another one with --data"
        return Fault("forbidden", text)
    if error.errno in (errno.ENOTDIR, errno.EEXIST, errno.ELOOP):
        return Fault("invalid_argument", f"{error.filename or path} is not a directory")
    return Fault("unavailable", f"{error.filename or path}: {error.strerror}")
