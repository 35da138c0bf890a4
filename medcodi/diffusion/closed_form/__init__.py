"""The linear part of conditional and of joint diffusion, in closed form (`diffusion.linear_denoiser`).

The rest of the package knows `ClosedForm`, `Known`, `build`, `innovations` and `fit_couplings`. Without them nothing
else would change: `LatentDiffusion` would call its denoiser, `JointModel` would hand on the codes
alone. They are named in ldm.py, joint.py, modalities/family.py and the `begin` of stages 2 and 3.
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
