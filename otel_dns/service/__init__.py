"""The running processor: receivers, bounded queues, the pipeline, outputs, its own metrics."""
