"""Networks of semantic segmentation: backbones, heads, whole networks, and how they are built from a config."""
