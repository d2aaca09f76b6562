"""Images and masks: records, augmentation, palette, and the embedded scenes of digits."""
