"""What a span costs in the processor, beside the real Collector doing the nearest it can."""
