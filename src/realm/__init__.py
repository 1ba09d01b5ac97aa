"""A self-hosted lab in which a language model keeps getting better at its owner's work."""

from typing import TYPE_CHECKING, Any

from realm.core.version import VERSION as __version__

__all__ = ["Realm", "__version__"]

if TYPE_CHECKING:
    from realm.lab import Realm


def __getattr__(name: str) -> Any:
    """Import the API when it is asked for, so that `realm --help` stays fast."""
    if name == "Realm":
        from realm.lab import Realm

        return Realm
    raise AttributeError(f"module 'realm' has no attribute {name!r}")
