"""Backends that what was joined is sent to, each with a queue, retries and troubles of its own."""
