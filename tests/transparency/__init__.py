"""Other people's test suites, with and without the instrumentation, compared test by test."""
