"""Carries out a policy on encoded instances: bytes and policy in, bytes and audit out. No I/O of its own.

`instance.deidentified` is the way in. `byte_walk` serves little endian, and lets pixels pass as ranges of the
original that the kernel may copy; `data_set_walk` serves the rest by pydicom, and says what the first must mean.
"""
