"""ImageNet, from what people have on disk, to TFDS records that HamGAN trains on."""
