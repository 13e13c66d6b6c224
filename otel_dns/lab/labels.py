"""The one rule for the names of labs, Pods and namespaces, which become names of files too."""

import re
from typing import Final

RULE: Final = "an RFC 1123 label: lower-case letters, digits and '-' between them, at most 63"
_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


def is_label(text: str) -> bool:
    """Whether a name keeps to the rule."""
    return _LABEL.fullmatch(text) is not None
