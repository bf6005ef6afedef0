"""Blocks of the calibration slot: what is set once, at the end of a run, on rows the training does not see."""
