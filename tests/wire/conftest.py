"""Properties are not judged by the clock: a busy machine is no failure."""

from hypothesis import settings

settings.register_profile("otel_dns", deadline=None)
settings.load_profile("otel_dns")
