"""Semantic segmentation: HamNet and SegNeXt, their data, augmentation and evaluation."""
