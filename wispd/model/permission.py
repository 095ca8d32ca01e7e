"""Who may do what: permissions, and the roles that bundle them. Deny by default: only what is listed is allowed."""

from __future__ import annotations

from typing import Final, Literal, get_args

from msgspec import Struct

Permission = Literal[
    "functions.read",  # see functions, versions and aliases, but not the values of their environment
    "functions.write",  # upload, build, deploy, shift, delete
    "functions.invoke",
    "records.read",  # records, log text, statistics, usage
    "secrets.write",  # set, list and delete; nobody reads a value
    "budgets.write",  # budgets and quotas
    "tokens.write",  # create, list and revoke
    "audit.read",
    "namespaces.read",  # see which there are, as far as the token reaches
    "namespaces.write",  # of the node: create and delete namespaces
    "node.read",  # of the node: status and metrics
    "node.write",  # of the node: backup, prices, keys
    "open",  # no token at all
]
Role = Literal["admin", "deployer", "invoker", "viewer"]

PERMISSIONS: Final[frozenset[Permission]] = frozenset(get_args(Permission)) - {"open"}
OF_NODE: Final[frozenset[Permission]] = frozenset({"namespaces.write", "node.read", "node.write"})
_READ: Final[frozenset[Permission]] = frozenset({"functions.read", "records.read", "namespaces.read", "node.read"})
ROLES: Final[dict[Role, frozenset[Permission]]] = {
    "viewer": _READ,
    "invoker": frozenset({"functions.invoke", "namespaces.read"}),
    "deployer": _READ | {"functions.write", "functions.invoke", "secrets.write"},
    "admin": PERMISSIONS,
}


class Principal(Struct, frozen=True, kw_only=True):
    """Who is asking, as far as a token says. `namespace` "": the node's own token, which reaches every one."""

    token_id: str
    role: str
    name: str = ""
    namespace: str = ""

    @property
    def of_node(self) -> bool:
        return not self.namespace


def may(role: str, namespace: str, permission: Permission, wanted: str) -> bool:
    """May a token of `role` for `namespace` ("": every one) use `permission` in namespace `wanted` ("": the node)?"""
    if permission == "open":
        return True
    if permission in OF_NODE and namespace:
        return False
    if namespace and wanted != namespace:
        return False
    return permission in ROLES.get(role, frozenset())  # type: ignore[call-overload]
