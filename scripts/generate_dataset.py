"""`medcodi generate` in many processes: each makes its own studies, on its own device.

    accelerate launch --config_file configs/accelerate/ddp.yaml scripts/generate_dataset.py
        --pipeline runs/NAME/pipeline --studies data/NAME --split train --given report
        --output generated

    ACCELERATE_USE_CPU=true torchrun --standalone --nproc_per_node 2 scripts/generate_dataset.py ...
        --num-processes 2

The same command again goes on where it stopped. Last line of stdout: one JSON document a process.
"""

import sys

from medcodi.cli import main

if __name__ == "__main__":
    main(["generate", *sys.argv[1:]])
