"""The page and its JSON API: read-only, on the history's files, in a process of its own.

It knows nothing of the running service but the address of its metrics; ``otel-dns serve`` starts
it as a child, ``otel-dns page`` runs it alone.
"""
