"""Class masks of images: at one or several scales, in sliding windows, and of pictures in files."""
