"""The linear part of diffusion, of one output and of several, in closed form.

A recipe switches it on (`diffusion.linear_denoiser`). The rest of the package knows the names below
and nothing else: without them `LatentDiffusion` would call its denoiser, and `JointModel` would
hand on the codes alone. They are used in ldm.py, joint.py, modalities/family.py and the `begin` of
stages 2 and 3.
"""

from medcodi.diffusion.closed_form.closed_form import (
    ClosedForm,
    Known,
    build,
    fit_couplings,
    innovations,
)
from medcodi.diffusion.closed_form.linear_denoiser import PENALTY

__all__ = ["PENALTY", "ClosedForm", "Known", "build", "fit_couplings", "innovations"]
