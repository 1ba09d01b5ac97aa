"""Text in, datasets out: every file is checked against a known spec before it becomes one."""
