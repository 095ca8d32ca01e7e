"""Every route of the admin API says which permission it needs; one that does not is a bug found at start."""

from __future__ import annotations

from typing import Any, Final

from wispd.model.permission import Permission

KEY: Final = "x-wisp-permission"


def needs(permission: Permission) -> dict[str, Any]:
    """Return what a route that needs `permission` is declared with: `@router.get(path, **needs("records.read"))`."""
    return {"openapi_extra": {KEY: permission}}
