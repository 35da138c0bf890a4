"""Denoisers of one output: noisy latents, timestep and context to a prediction."""
