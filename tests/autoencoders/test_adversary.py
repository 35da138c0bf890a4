"""The adversary of decoded images: who gets which gradient, and what it can tell."""

import torch
import torch.nn.functional as F

from medcodi.autoencoders.adversary import PatchAdversary
from tests.autoencoders.parts import image_autoencoder
from tests.networks import normal


def adversary():
    torch.manual_seed(0)
    return PatchAdversary(width=8)


def gradient(parameters):
    return sum(float(p.grad.abs().sum()) for p in parameters if p.grad is not None)


def test_each_side_gets_its_own_gradient():
    judge, real = adversary(), normal(4, 1, 32, 32).clamp(-1, 1)
    decoded = real.flip(0).requires_grad_()
    losses = judge.losses(decoded, real)
    losses["adversarial"].backward()
    assert decoded.grad.abs().sum() > 0 and gradient(judge.parameters()) == 0
    decoded.grad = None
    judge.losses(decoded, real)["discriminator"].backward()
    assert decoded.grad is None and gradient(judge.parameters()) > 0


def test_it_sees_no_brightness():
    judge, grain = adversary(), 0.05 * normal(1, 1, 32, 32)
    score = judge(grain)
    assert torch.allclose(judge(grain + 0.5), score, atol=1e-3)
    assert not torch.allclose(judge(2 * grain), score, atol=1e-2)


def test_it_learns_to_tell_blurred_images():
    judge, rounds = adversary(), 60
    optimizer = torch.optim.AdamW(judge.parameters(), 2e-3)
    for step in range(rounds):
        real = 0.05 * normal(8, 1, 32, 32, seed=step)
        judge.losses(F.avg_pool2d(real, 3, 1, 1), real)["discriminator"].backward()
        optimizer.step()
        optimizer.zero_grad()
    real = 0.05 * normal(8, 1, 32, 32, seed=rounds)
    assert judge(real).mean() > 0.5 > -0.5 > judge(F.avg_pool2d(real, 3, 1, 1)).mean()


def test_an_autoencoder_is_judged_in_training_alone():
    model, judge = image_autoencoder(adversarial_weight=0.5), adversary()
    images = normal(2, 1, 16, 16).clamp(-1, 1)

    def losses(progress, judged=True):
        generator = torch.Generator().manual_seed(0)
        return model.losses(images, progress, generator, *([judge] if judged else []))

    plain = losses(1.0, judged=False)
    assert losses(1.0)["loss"] == plain["loss"] and "discriminator" not in losses(1.0)  # eval
    model.train()
    begun, whole = losses(0.0), losses(1.0)
    expected = {0.0: begun, 0.5: whole}
    for weight, found in expected.items():
        told = plain["loss"] + weight * found["adversarial"] + found["discriminator"]
        torch.testing.assert_close(found["loss"].detach(), told.detach())
