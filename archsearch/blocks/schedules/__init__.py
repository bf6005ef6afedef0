"""Blocks of the schedule slot: learning-rate multipliers."""
