"""Joins by time: whose a server trace is, where nothing on the wire says it."""
