"""Players behind OpenAI-compatible HTTP endpoints: requests, budgets, journals."""
