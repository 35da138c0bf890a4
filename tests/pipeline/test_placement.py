"""Devices, dtypes, offloading and slicing."""

import pytest
import torch

CALL = {"outputs": ["frontal", "tabular"], "num_inference_steps": 2, "seeds": [3, 4]}
CALL |= {"num_images_per_prompt": 2}


def test_to_takes_device_and_dtype_as_torch_does(tiny_pipeline):
    pipe = tiny_pipeline
    full = pipe(**CALL).latents["frontal"]
    for arguments in ((torch.float16,), ("cpu", torch.bfloat16), (torch.device("cpu"),)):
        assert pipe.to(*arguments) is pipe
    assert pipe.dtype == torch.bfloat16
    assert next(pipe.autoencoders["radiograph"].parameters()).dtype == torch.float32
    torch.testing.assert_close(pipe(**CALL).latents["frontal"], full, rtol=0.1, atol=0.1)
    pipe.to(torch.float16)
    torch.testing.assert_close(pipe(**CALL).latents["frontal"], full, rtol=0.05, atol=0.05)
    for odd in (torch.int32, "float16"):
        with pytest.raises(ValueError, match=r"dtype must be a floating point torch\.dtype"):
            pipe.to(dtype=odd)
    with pytest.raises(ValueError, match=r"to\(\) takes a device and a dtype, got 2.5"):
        pipe.to(2.5)


def test_offloading_keeps_on_the_device_what_a_phase_needs(tiny_pipeline, monkeypatch):
    """Each phase moves its own kinds there and back, and the samples stay the same."""
    pipe, moved = tiny_pipeline, []
    before = pipe("Edema.", **CALL)
    pipe.enable_model_cpu_offload(device="cpu")
    placed = type(pipe).placed
    monkeypatch.setattr(
        type(pipe), "placed", lambda self, *kinds: moved.append(kinds) or placed(self, *kinds)
    )
    after = pipe("Edema.", **CALL)
    assert moved == [("encoder", "autoencoder"), ("diffusion", "environment"), ("autoencoder",)]
    assert all(torch.equal(after.latents[n], before.latents[n]) for n in before.latents)
    with pytest.raises(ValueError, match="the networks are offloaded and run on cpu"):
        pipe.to("cpu")


def test_a_phase_has_its_own_networks_on_the_device(tiny_pipeline):
    """The meta device stands for a GPU; nothing comes back from it."""
    pipe = tiny_pipeline
    pipe.enable_model_cpu_offload(device="meta")
    assert pipe.device.type == "meta"
    kinds = {k: [*pipe.components[k].values()] for k in ("encoder", "diffusion")}
    phase = pipe.placed("encoder")
    phase.__enter__()
    assert {next(m.parameters()).device.type for m in kinds["encoder"]} == {"meta"}
    assert {next(m.parameters()).device.type for m in kinds["diffusion"]} == {"cpu"}
    with pytest.raises(NotImplementedError, match="Cannot copy out of meta tensor"):
        phase.__exit__(None, None, None)


def test_vae_slicing_sees_one_picture_at_a_time(tiny_pipeline):
    pipe, seen = tiny_pipeline, []
    decoder = pipe.autoencoders["radiograph"].vae.decoder
    decoder.register_forward_pre_hook(lambda module, args: seen.append(len(args[0])))
    whole = pipe(output_type="np", **CALL).frontal
    pipe.enable_vae_slicing()
    sliced = pipe(output_type="np", **CALL).frontal
    pipe.disable_vae_slicing()
    pipe(**CALL)
    assert seen == [2, 1, 1, 2]
    assert abs(whole - sliced).max() < 1e-5


@pytest.mark.parametrize(
    ("method", "match"),
    [
        ("enable_vae_tiling", "a tile is as large as the picture"),
        ("enable_attention_slicing", "keeps no attention matrix"),
        ("enable_xformers_memory_efficient_attention", "keeps no attention matrix"),
        ("enable_sequential_cpu_offload", "take enable_model_cpu_offload"),
        ("enable_group_offload", "take enable_model_cpu_offload"),
    ],
)
def test_what_would_save_nothing_is_refused_with_the_reason(tiny_pipeline, method, match):
    with pytest.raises(ValueError, match=match):
        getattr(tiny_pipeline, method)()
