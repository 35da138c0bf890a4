"""Reports and a tokenizer for the tests of Optimus; a small autoencoder of images."""

import torch

from medcodi.autoencoders.image_kl import ImageKL
from medcodi.autoencoders.optimus import OptimusConfig, OptimusVAE

REPORTS = [
    "The heart is normal in size. The lungs are clear.",
    "There is a small left pleural effusion.",
    "There is a large right pleural effusion. The heart is enlarged.",
    "No pneumothorax.",
    "Right upper lobe consolidation. No pleural effusion or pneumothorax.",
    "Mild pulmonary edema. The heart is mildly enlarged.",
    "A nodule in the left lower lobe. The lungs are otherwise clear.",
    "Left apical pneumothorax. Endotracheal tube is in place. The heart is normal in size.",
]


CONFIG = {
    "num_slots": 4,
    "slot_dim": 8,
    "hidden_dim": 48,
    "num_encoder_layers": 1,
    "num_decoder_layers": 2,
    "num_heads": 2,
    "max_length": 40,
}


def build(tokenizer, **changes):
    torch.manual_seed(0)
    return OptimusVAE(OptimusConfig(**{**CONFIG, **changes}), tokenizer)


def image_autoencoder(**changes):
    torch.manual_seed(0)
    sizes = {"image_size": 16, "block_out_channels": [8, 8], "layers_per_block": 1}
    sizes |= {"latent_channels": 4, "norm_num_groups": 4, "mid_block_add_attention": False}
    return ImageKL(**sizes | {"kl_weight": 1e-4, "edge_weight": 1.0} | changes).eval()
