"""Outputs one after the other: each is prompted by what the call is given and by the outputs before
it. It asks of the model what stage 2 trains, any subset of prompts, where joint generation asks
what stage 3 adds.

Legend: N samples of a call.
"""

from collections.abc import Callable
from dataclasses import replace

import torch

from medcodi.modalities.family import ModelFamily
from medcodi.pipeline.checks import Call
from medcodi.pipeline.output import MedCoDiOutput


class InOrder:
    """`run`, which makes the samples of a call, for one output of `call.order` after the other."""

    def __init__(self, run: Callable[[Call], MedCoDiOutput], family: ModelFamily) -> None:
        self.run, self.family = run, family

    def __call__(self, call: Call) -> MedCoDiOutput:
        """N samples. A call that was interrupted returns the outputs it reached, of the samples
        that have all of them."""
        whole = call.again(range(len(call.seeds)), call.seeds)  # a prompt row for each sample
        made: dict[str, MedCoDiOutput] = {}
        for name in call.order:
            earlier = {n: out.stored[n] for n, out in made.items()}
            made[name] = self.run(_one(whole, name, earlier))
            if made[name].interrupted:
                break
        count = min(map(len, made.values()))
        names = [name for name in call.outputs if name in made]
        latents: dict[str, torch.Tensor] = {n: made[n].latents[n][:count] for n in names}
        return MedCoDiOutput(
            latents if call.output_type == "latent" else {n: made[n][n][:count] for n in names},
            latents,
            call.seeds[:count],
            call.prompt_index[:count],
            {n: made[n].stored[n][:count] for n in names},
            {n: self.family.modality(n) for n in names},
            any(out.interrupted for out in made.values()),
        )


def _one(call: Call, name: str, earlier: dict[str, list]) -> Call:
    """The call of one output, with N values of each of those before it among its prompts."""
    return replace(
        call,
        prompts=call.prompts | earlier,
        outputs=[name],
        keep={n: parts for n, parts in call.keep.items() if n == name},
        strength={n: share for n, share in call.strength.items() if n == name},
        latents={n: noise for n, noise in call.latents.items() if n == name},
        # values are needed as prompts, whatever the caller is shown
        output_type="np" if call.output_type == "latent" else call.output_type,
    )
