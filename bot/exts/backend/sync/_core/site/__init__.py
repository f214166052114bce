"""What is said to the website, and what its answers mean."""
