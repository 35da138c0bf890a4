"""Parts of the tests of private training: a run whose stage 2 can be private."""

from tests.tiny import copy_run
from tests.training.parts import LATER

DP = {"noise_multiplier": 1.0, "delta": 0.01}


def private_run(tiny_run, folder, name="tabular", diffusion=None, **settings):
    """Everything before stage 2 done; stage 2 of one modality with `dp`, six steps."""
    stage2 = {"modality": name, "num_steps": 6, "batch_size": 8, "dp": DP, **settings}
    diffusion = {"prompt_mean": False, "partner_mean": False} | (diffusion or {})
    return copy_run(tiny_run, folder, without=LATER, stage2=stage2, diffusion=diffusion)
