"""Train stage 2, one latent diffusion model a modality, of a recipe.

    accelerate launch train/stage2.py [--config RECIPE] [modality=NAME] [optim.lr=1e-4 ...]

The same command again resumes, or does nothing when the stage is complete.
"""

import sys

from medcodi.cli import main

if __name__ == "__main__":
    main(["train", "stage2", *sys.argv[1:]])
