"""The Probabilistic U-Net: arrays in, samples of class and centre maps out.

Read in this order: `layers` (the convolutions), `unet` (encoder and decoder), `latent` (Gaussians),
`proba_unet` (the model), `objective` (what training minimises). Nothing here knows of BTK, and the
network and its objective are written with Keras operations only, so they run on every backend of
Keras.
"""
