"""What the SDK's own samplers decide by."""

from typing import Any, Final

from otel_dns.client.fast_path.genuine import is_genuine

MOST_SPAN_ID: Final = (1 << 64) - 1


def rules_of(sampler: Any, sampling: Any) -> tuple[int, ...] | None:
    """Return what the SDK's own samplers compare a trace id's lower half with, by parent.

    Args:
        sampler: A tracer's sampler.
        sampling: The SDK's module of samplers.

    Returns:
        The bounds for no parent; for one here, not sampled and sampled; for a remote one, not
        sampled and sampled. Nothing if any of them is somebody else's sampler.
    """
    own = (sampling.ParentBased, sampling.StaticSampler, sampling.TraceIdRatioBased)
    if not all(is_genuine(cls, ("should_sample",)) for cls in own):
        return None
    if type(sampler) is sampling.ParentBased:
        asked = (
            sampler._root,
            sampler._local_parent_not_sampled,
            sampler._local_parent_sampled,
            sampler._remote_parent_not_sampled,
            sampler._remote_parent_sampled,
        )
    else:
        asked = (sampler,) * 5
    always = {sampling.Decision.RECORD_AND_SAMPLE: MOST_SPAN_ID + 1, sampling.Decision.DROP: 0}
    bounds = []
    for one in asked:
        if type(one) is sampling.TraceIdRatioBased:
            bounds.append(one._bound)
        elif type(one) is sampling.StaticSampler and one._decision in always:
            bounds.append(always[one._decision])
        else:
            return None
    return tuple(bounds)
