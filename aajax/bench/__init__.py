"""What `aajax bench` measures; timed in processes of their own."""
