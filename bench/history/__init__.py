"""The history: how fast it is written, how large it is, how long its questions take."""
