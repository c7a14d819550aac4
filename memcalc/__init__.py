"""How much memory a language model needs, derived from the list of its tensors."""
