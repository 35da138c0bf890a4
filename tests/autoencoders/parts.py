"""Reports and a tokenizer for the tests of Optimus."""

import torch

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
