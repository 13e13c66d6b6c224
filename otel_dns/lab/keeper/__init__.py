"""The process that owns a lab: what runs inside it. Nothing outside imports from here.

``python -m otel_dns.lab.keeper`` is the outer process: it makes the namespaces, forks PID 1 of the
lab (``init.py``) into them, and cleans the disk when that ends.
"""
