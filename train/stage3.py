"""Train stage 3: joint generation of a recipe.

    accelerate launch train/stage3.py --config configs/phantom_tiny.yaml [optim.lr=1e-4 ...]

Rerunning the same command resumes, or does nothing when the stage is complete.
"""

from medcodi.training.command import main

if __name__ == "__main__":
    main("stage3")
