"""The dashboard: reads results, submits work, draws."""
