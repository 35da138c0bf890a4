"""The summary of the prompts: first token of the context, and its short ways into the denoisers."""

B, E, W, D = 3, 8, 6, 12
