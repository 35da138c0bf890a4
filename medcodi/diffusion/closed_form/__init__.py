"""What is linear in a diffusion model, in closed form: one room, behind the interface of
`LinearDenoiser` and `LinearCoupling`."""
