"""Probe heads, one file each."""
