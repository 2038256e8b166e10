"""What Prometheus and the log are told, under vLLM's names."""
