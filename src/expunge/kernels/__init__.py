"""Compiled inner loops (numba), each beside a plain numpy twin that tests compare it with. They import nothing."""
