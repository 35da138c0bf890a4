"""Train the autoencoders (before stage 2) of a recipe.

    accelerate launch train/autoencoder.py --config configs/phantom_tiny.yaml [modality=NAME]
    [optim.lr=1e-4 ...]

Rerunning the same command resumes, or does nothing when the stage is complete.
"""

from medcodi.training.command import main

if __name__ == "__main__":
    main("autoencoder")
