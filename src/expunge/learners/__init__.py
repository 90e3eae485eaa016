"""Plain training, for methods that treat it as a black box."""
