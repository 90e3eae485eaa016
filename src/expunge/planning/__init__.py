"""Plans: which routes a request can take, what each guarantees, and what it will cost."""
