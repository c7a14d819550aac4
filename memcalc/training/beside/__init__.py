"""Moments beside the step: what loading, evaluation and saving hold, on a device and in the host's memory."""
