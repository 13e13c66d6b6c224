"""Grafana dashboards and Prometheus rules of otel-dns; ``make dashboards`` writes them anew."""
