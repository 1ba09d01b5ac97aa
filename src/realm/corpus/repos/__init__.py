"""What a repository or a plain folder of files holds, and under which licence."""
