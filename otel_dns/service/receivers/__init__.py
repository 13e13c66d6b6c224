"""Listeners: OTLP over gRPC and HTTP, Zipkin, dnstap; whom they let in, and how much of him."""
