"""Bytes to model and back: each module a pure codec."""


class MalformedError(ValueError):
    """These bytes are not what their sender says they are; the message says where."""
