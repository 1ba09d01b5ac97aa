"""The lab's verbs. The only place where rooms meet."""
