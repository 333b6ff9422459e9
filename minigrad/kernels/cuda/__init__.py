"""Kernels for a GPU: CUDA source that CuPy compiles, and cuBLAS for products of matrices.

`launch` starts kernels, `product` multiplies matrices; each other file is an algorithm, with the functions and
arguments of its namesake one folder up. In every kernel a thread writes its own part of the output and nobody else's:
there is no shared memory, no barrier and no atomic addition, so results are the same in every run, and a loop over the
threads on a CPU gives them too, which is how they are tested where there is no GPU.
"""
