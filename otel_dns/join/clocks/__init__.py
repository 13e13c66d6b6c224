"""Clocks: of servers against clients, and of servers among each other."""
