"""Arrays in, arrays out, no autograd: convolution, pooling and channel passes, for NumPy and CuPy alike.

Letters: N images, C channels in, O channels out, H W height and width in, OH OW out, KH KW the kernel's, G groups.
Arrays are (N, C, H, W) by shape; what the kernels return is channels-last in memory, that is (N, H, W, C) seen
transposed, and what they take may have any strides.
"""
