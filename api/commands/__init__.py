"""What `servax NAME` does for every command but `serve`."""
