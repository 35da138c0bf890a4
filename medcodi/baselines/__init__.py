"""Systems that medcodi is compared with, one file a system.

base.py               the interface: fit, sample, save, load
loop.py               the one training loop of the image systems
layers.py             convolutions that several of them are made of
class_ldm.py          latent diffusion by class (Packhaeuser et al. 2023)
pggan.py              progressive GAN by class (Karras et al. 2018, Packhaeuser et al. 2023)
latent_class.py       PGGAN that a classifier's gradient steers (Segal et al. 2021)
dcgan.py              DCGAN (Radford et al. 2016)
pix2pix.py            one view from the other (Isola et al. 2017)
beta_vae.py           beta-VAE (Higgins et al. 2017)
alpha_gan.py          alpha-GAN (Rosca et al. 2017), codes of 128 numbers
codes.py              PCA and autoencoder, codes of 128 numbers
registry.py           all image systems by name
tables.py             all table systems by name
row_codes.py          rows of a table as vectors
gaussian_copula.py    of a table
dragan.py             DRAGAN of a table (Kodali et al. 2017)
table_diffusion.py    diffusion on the columns of a table (Kotelnikov et al. 2023)
"""
