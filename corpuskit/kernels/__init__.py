"""Numba functions over NumPy views of Arrow buffers.

The only room that imports numba. No I/O, no Arrow objects, no configuration: each kernel takes
arrays and scalars and fills arrays. A plain Python reference stands beside each kernel in the
tests or the module, and a test holds that they agree.
"""
