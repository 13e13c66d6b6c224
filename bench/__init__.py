"""Benchmarks: what otel-dns costs, beside what others cost in the same run."""
