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

    Raises ValueError for what is no flag and for a `coupling_scale` where no output sees another.
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
    return seen


def tell_idle(
    call: Call, guidance_scale: Any, guidance_interval: Any, max_draws: Any, privacy: Any
) -> None:
    """Warns of guidance that has no prompt, and of negative prompts where nothing is guided.

    Raises ValueError for `max_draws` without a filter that draws again.
    """
    if max_draws is not None and privacy is None:
        raise ValueError("max_draws bounds how often privacy draws again: give privacy, too")
    if not (call.prompts or call.negative_prompts or call.order):
        guided = {"guidance_scale": guidance_scale, "guidance_interval": guidance_interval}
        for name, value in guided.items():
            if value is not None:
                logger.warning(
                    "%s does nothing here: guidance leads towards prompts, there is none", name
                )
    if call.negative_prompts and all(scale == 1 for scale in call.guidance.values()):
        logger.warning(
            "negative_prompts do nothing here: guidance leads away from them, and guidance_scale "
            "is 1 for every output"
        )
