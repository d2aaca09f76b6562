"""3x3 and 1x1 convolutions with optional resampling, computed in the fastest of three forms.

The forms agree up to rounding. For a 3x3 convolution after nearest-neighbour upsampling by two, or before 2x2 average
pooling, they need this many multiplications per pair of channels and four pixels of the larger image:

- "plain", resampling and convolution as separate operations: 36.
- "strided", a convolution (transposed for upsampling) with stride 2: 16.
- "products", matrix products: 9. Without resampling, it needs 16 instead of 36.

A 1x1 convolution needs 4 in the plain and strided forms, and 1 in "products", which runs it at the smaller size.

All forms can be differentiated to any order.
"""

from hamgan.layers.convolution.choice import Resampling as Resampling
from hamgan.layers.convolution.choice import convolve as convolve
