"""Players behind HTTP endpoints: requests, budgets, journals, keys."""
