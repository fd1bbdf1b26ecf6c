"""`ApiKey`: a secret from the environment that is sent in one header and never shown."""

from __future__ import annotations

import os
from typing import Protocol

_SHOWN_INSTEAD = b"[key]"


class Signable(Protocol):
    """A request that a header can be put into, as httpx has it."""

    headers: dict[str, str]


class ApiKey:
    """A key of a service, from the environment only.

    Its repr, a pickle and a copy have only the variable's name.

    Attributes:
        variable: The environment variable that holds it.
    """

    __slots__ = ("_header", "_prefix", "_value", "variable")

    def __init__(self, variable: str, header: str = "Authorization", prefix: str = "Bearer ") -> None:
        """Read the key now, so that a missing one is told at start.

        Args:
            variable: The environment variable.
            header: The header of the service for it.
            prefix: Text before the key in the header.

        Raises:
            ValueError: The variable is not set, or has characters that a header cannot have.
        """
        value = os.environ.get(variable, "").strip()
        if not value:
            raise ValueError(f"the environment variable {variable} is not set; export {variable}=<your key>")
        # A library that refuses such a header would show the key in its message.
        if not (value.isascii() and value.isprintable()) or " " in value:
            raise ValueError(
                f"the environment variable {variable} holds no key: only visible ASCII characters are allowed"
            )
        self.variable, self._header, self._prefix, self._value = variable, header, prefix, value

    def sign(self, request: Signable) -> Signable:
        """Put the key into a request that is about to be sent; httpx takes this method as its `auth`."""
        request.headers[self._header] = self._prefix + self._value
        return request

    def hide(self, data: bytes) -> bytes:
        """The data of a reply without the key."""
        return data.replace(self._value.encode(), _SHOWN_INSTEAD)

    def __repr__(self) -> str:
        """The variable's name only."""
        return f"ApiKey({self.variable!r})"

    def __reduce__(self) -> tuple[type[ApiKey], tuple[str, str, str]]:
        """Read again on the other side."""
        return ApiKey, (self.variable, self._header, self._prefix)
