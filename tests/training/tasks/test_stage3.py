"""Stage 3: what trains."""

import torch

from medcodi.training.run import Run
from medcodi.training.tasks.stage3 import Stage3Task
from tests.training.parts import exported


def test_stage3_trains_only_coupling_and_environments(tiny_run):
    joint = exported(tiny_run, "stage3")
    fresh = Stage3Task(Run(tiny_run)).joint.state_dict()  # what training started from
    frozen = set()
    for name in tiny_run.modalities:
        for key, value in exported(tiny_run, f"stage2/{name}").items():
            frozen.add(f"diffusions.{name}.{key}")
            assert torch.equal(joint[f"diffusions.{name}.{key}"], value), key
    trained = {key for key in joint if key not in frozen}
    moved = {key for key in trained if not torch.equal(joint[key], fresh[key])}
    assert moved == {key for key in joint if not torch.equal(joint[key], fresh[key])}
    assert all(
        "partner_mean" in k or "cross_modal" in k or k.startswith("environments.") for k in trained
    )
    for name in tiny_run.modalities:
        assert any(key.startswith(f"diffusions.{name}.") for key in moved)
        assert any(key.startswith(f"environments.{name}.") for key in moved)
