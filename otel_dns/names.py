"""DNS names: normalise them, and expand a search list as the stub resolvers do.

Pure, total and cached: the processor asks for the candidates of every lookup it sees, so nothing
here raises on hostile text and a repeated question is one look into a cache.
"""

import string
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from itertools import takewhile

_MAX_TEXT = 1024
"""Longer text than any name has, escapes included; IDNA is not tried beyond it."""
_MAX_NAME = 253
_MAX_LABEL = 63
_ASCII_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def normalise(name: str) -> str:
    """Return a name in the one form in which names are compared.

    Lower-case, U-labels in their IDNA form where they have one, and one trailing dot. Text that
    is no name comes back in the same manner, changed as little as possible; nothing raises.

    Args:
        name: A name, absolute or not, in any letter case.

    Returns:
        The name as a full name: ``normalise("Web.Shop")`` is ``"web.shop."``.
    """
    return _lower(name).rstrip(".") + "."


# Of the longest names on the longest search lists so many take 40 MB.
@lru_cache(maxsize=4096)
def candidates(
    name: str, search: tuple[str, ...] = (), ndots: int = 1, kind: str = "glibc"
) -> tuple[str, ...]:
    """Return the full names that a stub resolver tries for a name, in its order.

    The resolvers differ, and neither of them removes duplicates:

    * glibc (``__res_context_search``): an absolute name by itself; with ``ndots`` dots or more as
      is and then the search list; otherwise the search list and then as is, unless the root was
      on the list. A candidate that is no valid name ends the search list.
    * musl (``name_from_dns_search``): with ``ndots`` dots or more only as is. A candidate that is
      no valid name is left out.
    * dnspython (``Resolver._get_qnames_to_try``): like glibc, but the root on the list is no
      reason to leave out the name itself, and one invalid candidate fails the whole lookup.

    Args:
        name: The name as the application asked for it.
        search: The search list in force.
        ndots: The ``ndots`` option in force.
        kind: ``semconv.RESOLVER_KIND``'s value; ``other`` is taken to be like glibc.

    Returns:
        Normalised full names; empty when the resolver would send no query at all.
    """
    text = _lower(name)
    if not text and kind != "dnspython":
        return ()
    bare = text.removesuffix(".")
    as_is = bare + "."
    enough_dots = text.count(".") >= ndots
    if kind == "musl":
        return _musl(bare, as_is, () if text.endswith(".") or enough_dots else search)
    if text.endswith(".") or not search:
        return (as_is,) if _valid(as_is) else ()

    suffixed = [_join(bare, _lower(domain).lstrip(".")) for domain in search]
    if kind == "dnspython":
        if not bare:  # it counts labels, of which the empty name has none
            enough_dots = ndots < 0
        tried = [as_is, *suffixed] if enough_dots else [*suffixed, as_is]
        return tuple(tried) if all(map(_valid, tried)) else ()

    tried = list(takewhile(_valid, suffixed))
    if not _valid(as_is):
        return tuple(tried)
    if enough_dots:
        return (as_is, *tried)
    return tuple(tried) if as_is in tried else (*tried, as_is)


@lru_cache(maxsize=16_384)
def reverse(address: str) -> str | None:
    """Return the full name under which an address's own name is looked up.

    An IPv4 address in IPv6 clothes is asked for as what it is, as the C libraries do.

    Args:
        address: A numeric address, an IPv6 one perhaps with a scope.

    Returns:
        A name below ``in-addr.arpa.`` or ``ip6.arpa.``; nothing if the text is no address.
    """
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return None
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return (mapped or parsed).reverse_pointer + "."


def _musl(bare: str, as_is: str, search: tuple[str, ...]) -> tuple[str, ...]:
    if not bare:
        return ()
    # A dot at the end of a domain ends the name; the root alone makes "name..", which is no name.
    domains = [domain for domain in map(_lower, search) if domain != "."]
    return tuple(
        full for full in (*(_join(bare, domain) for domain in domains), as_is) if _valid(full)
    )


def _join(bare: str, domain: str) -> str:
    """Return a name under a domain as a full name; either may be empty."""
    suffix = domain.removesuffix(".")
    return f"{bare}.{suffix}." if bare and suffix else f"{bare}{suffix}."


def _lower(name: str) -> str:
    """Return a name in lower case, and in its IDNA form where it needs one and has one."""
    if name.isascii():
        return name.lower()
    if len(name) <= _MAX_TEXT:
        try:
            # CPython and dnspython both send IDNA 2003, which is what this codec makes.
            return name.encode("idna").decode("ascii").lower()
        except ValueError:
            pass
    return name.translate(_ASCII_LOWER)


def _valid(full: str) -> bool:
    """Tell whether a full name can be put into a DNS message."""
    if full == ".":
        return True
    if len(full) > _MAX_NAME + 1:
        return False
    return all(0 < len(label) <= _MAX_LABEL for label in full[:-1].split("."))
