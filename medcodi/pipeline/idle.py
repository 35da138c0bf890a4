"""Options of a call that would do nothing beside its others: an option that is given is one that
acts."""

import logging
from typing import Any

from medcodi.pipeline.arguments import flag
from medcodi.pipeline.checks import Call

logger = logging.getLogger(__name__)


def what_is_seen(
    call: Call, coupled: Any, condition_on_latents: Any, coupling_scale: Any, environments: Any
) -> tuple[bool, bool]:
    """`coupled` and `condition_on_latents` of a checked call of a pipeline with `environments`
    (None: without stage 3).

    Raises ValueError for what is no flag and for a `coupling_scale` where no output sees another;
    warns of negative prompts where nothing is guided.
    """
    seen = flag(coupled, "coupled"), flag(condition_on_latents, "condition_on_latents")
    idle = {
        "coupled is False": not seen[0],
        "the pipeline has no stage 3": environments is None,
        "order makes them one after the other": bool(call.order),
        "the call has one output": len(call.outputs) == 1,
    }
    why = [reason for reason, holds in idle.items() if holds]
    if coupling_scale is not None and why:
        raise ValueError(
            f"coupling_scale weighs what outputs tell each other, and does nothing here: {why[0]}"
        )
    if call.negative_prompts and all(scale == 1 for scale in call.guidance.values()):
        logger.warning(
            "negative_prompts do nothing here: guidance leads away from them, and guidance_scale "
            "is 1 for every output"
        )
    return seen
