"""3x3 and 1x1 convolutions together with the resampling before or after them, in the form that costs least.

One function has three forms, equal but for rounding. A 3x3 convolution after nearest upsampling by two, or before 2x2
average pooling, takes for four pixels of the larger image and each pair of channels

- "plain", as the paper writes it, resampling and convolution one after the other: 36 multiplications;
- "strided", one convolution with stride 2, transposed for upsampling: 16;
- "products", matrix products: 9, and 16 instead of 36 without resampling.

A 1x1 convolution takes 4 in the plain and the strided form; "products" commutes it with the resampling, and it takes 1.

Every form can be differentiated any number of times.
"""

from hamgan.layers.convolution.choice import Resampling, convolve

__all__ = ["Resampling", "convolve"]
