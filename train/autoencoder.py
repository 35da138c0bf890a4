"""Train the autoencoders (before stage 2) of a recipe.

    accelerate launch train/autoencoder.py [--config RECIPE] [modality=NAME] [optim.lr=1e-4 ...]

The same command again resumes, or does nothing when the stage is complete.
"""

import sys

from medcodi.cli import main

if __name__ == "__main__":
    main(["train", "autoencoder", *sys.argv[1:]])
