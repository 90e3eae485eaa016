"""Compiled inner loops, each beside a plain numpy twin that tests compare it with."""
