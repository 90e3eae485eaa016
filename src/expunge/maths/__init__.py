"""Pure mathematics of tensors; imports nothing from the rest of the package but errors."""
