"""Adapters for small data: stage 2 on the denoisers of a finished pipeline, trained by the same
loop.

    name: my_site
    data: {prepared: data/my_site}
    adapters: {base: runs/phantom/pipeline, rank: 8}
    stage2: {num_steps: 500}

    medcodi train stage2 --config my_site.yaml
    pipe.load_lora_weights("runs/my_site", strength=0.8)
"""

from medcodi.adapters.task import train_adapters

__all__ = ["train_adapters"]
