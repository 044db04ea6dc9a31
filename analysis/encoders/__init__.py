"""Baseline encoders, one file each: what the model's features are compared with."""
