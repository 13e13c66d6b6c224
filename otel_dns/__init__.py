"""otel-dns: tells, with proof, why a DNS lookup in Kubernetes was slow or failed."""

__version__ = "0.1.0.dev0"
